"""Ctrl-C that waits for the work at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Hold Ctrl-C back inside the block: the first sets the event yielded, a second interrupts at once.

    Whoever holds the event checks it where stopping is safe. Signals reach the main thread only, and a
    process started to ignore Ctrl-C (in the background) goes on ignoring it; there nothing changes.
    """
    requested = threading.Event()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield requested
        return

    def hold(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous)
        requested.set()

    previous = signal.signal(signal.SIGINT, hold)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGINT, previous)
