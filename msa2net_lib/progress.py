"""Progress bars, the same everywhere: a widget in notebooks, a line in terminals, silent on request."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm


def progress_bar(iterable: Any = None, *, enabled: bool, **options: Any) -> Any:
    """A tqdm bar; ``enabled=False`` hides it, and so does TQDM_DISABLE=1 in the environment."""
    # tqdm heeds its environment variables only for arguments that are not given.
    return tqdm(iterable, **options) if enabled else tqdm(iterable, disable=True, **options)
