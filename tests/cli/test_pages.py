"""Commands that a page tells the reader to give are commands that there are."""

from __future__ import annotations

import re
import shlex

import pytest

from msa2net_lib.cli.main import _parser

PAGES = ("reproduce_table_1", "evaluate", "networks", "protocol")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_understood(root, page):
    text = (root / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, flags=re.S | re.M))
    inline = re.findall(r"`(msa2net [^`]+)`", text) if page == "reproduce_table_1" else []
    given = [*re.findall(r"^(?:\S+=\S+ )?(msa2net .+)$", blocks, flags=re.M), *inline]
    assert given
    for command in given:
        _parser().parse_args(shlex.split(command, comments=True)[1:])


def test_the_page_names_the_counts_of_the_split(root):
    from msa2net_lib.data.splits import SYNAPSE_SLICES as TRAIN_SLICES
    from msa2net_lib.paper.tables import SYNAPSE_SLICES

    text = (root / "docs" / "reproduce_table_1.md").read_text(encoding="utf-8")
    train = sum(TRAIN_SLICES.values())
    assert f"{train} training slices and 12 volumes with {SYNAPSE_SLICES - train} slices" in text
    assert f"{700 * -(-train // 20):,} steps" in text


def test_make_install_only_installs(root):
    """Its recipe is empty: all it does is what the environment's stamp needs."""
    rule = (root / "Makefile").read_text(encoding="utf-8").split("\ninstall: ")[1]
    assert rule.startswith("$(STAMP)\n\n")
