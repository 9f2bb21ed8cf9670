"""Progress bars, the same everywhere: a widget in notebooks, a line in terminals, silent on request."""

from __future__ import annotations

import os
from typing import Any


def progress_bar(iterable: Any = None, *, enabled: bool, **options: Any) -> Any:
    """A tqdm bar; ``enabled=False`` hides it, and so does TQDM_DISABLE=1 in the environment."""
    from tqdm.auto import tqdm  # takes half a second, which `msa2net --help` need not wait for

    # tqdm's widget bars do not heed the variable that its terminal bars do.
    silenced = os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(iterable, disable=silenced or not enabled, **options)
