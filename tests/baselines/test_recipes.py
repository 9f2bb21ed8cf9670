"""The page of the protocol shows every repository's own recipe as the table has it."""

from __future__ import annotations

import pytest

from msa2net_lib.baselines.recipes import OWN_RECIPES
from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.train_config import RECIPES


@pytest.mark.parametrize("row", OWN_RECIPES)
def test_the_page_shows_the_recipe(root, row):
    lines = (root / "docs" / "protocol.md").read_text(encoding="utf-8").splitlines()
    line, otherwise = [line for line in lines if line.startswith(f"| {row} |")]
    recipe = OWN_RECIPES[row]
    for said in (
        recipe.optimizer,
        recipe.batch,
        recipe.epochs,
        recipe.loss,
        recipe.augmentation,
        recipe.images,
        recipe.chosen,
    ):
        assert said in line
    assert otherwise == f"| {row} | {recipe.otherwise} |"


def test_every_recipe_is_of_a_network(root):
    assert set(OWN_RECIPES) <= {entry.row for entry in NETWORKS.values()}


def test_the_common_recipe_is_that_of_the_page(root):
    page = (root / "docs" / "protocol.md").read_text(encoding="utf-8")
    for name in ("synapse", "isic"):
        recipe = RECIPES[name]
        assert f"{recipe.batch_size}, {recipe.epochs}" in page
        assert recipe.loss == "boundary_dou"
