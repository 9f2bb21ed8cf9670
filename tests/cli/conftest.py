"""Images that the commands work on."""

from __future__ import annotations

import pytest

from msa2net_lib.data.skin.prepare import prepare_skin


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with twelve drawn images of skin, and the data set of 64 x 64 made of them. Read only."""
    home = tmp_path_factory.mktemp("drawn")
    return home, prepare_skin(home, count=12, size=64, workers=1, progress=False)
