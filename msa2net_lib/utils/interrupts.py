"""Ctrl-C, and what batch systems and closed terminals send, that waits for the work at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask for an end: Ctrl-C, a batch system or `kill`, a terminal that is closed (not on Windows)."""


class Stopped(KeyboardInterrupt):
    """A signal asked for an end; ``number`` is the signal's, and ``128 + number`` what a shell expects as exit code."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = int(number)


class Requested(threading.Event):
    """Set once a signal has asked for an end; ``number`` says which one."""

    number: int = signal.SIGINT


@contextmanager
def deferred_interrupt() -> Iterator[Requested]:
    """Hold the signals in `STOPPING` back inside the block: the first sets the event yielded, a second stops at once.

    Whoever holds the event checks it where stopping is safe. Signals reach the main thread only, and what a
    process was started to ignore (Ctrl-C in the background, a hang-up under ``nohup``) it goes on ignoring.
    """
    requested = Requested()

    def hold(number: int, frame: Any) -> None:
        restore()
        requested.number = number
        requested.set()

    restore = _handle(hold)
    try:
        yield requested
    finally:
        restore()


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` for each of `STOPPING` in the block: what is half written is removed, and a word can be said."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    restore = _handle(stop)
    try:
        yield
    finally:
        restore()


def ignore_stopping() -> None:
    """Leave the signals to the process that started this one: a worker has to go on until that one has stopped."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _handle(handler: Any) -> Any:
    """Set a handler for each signal of `STOPPING` that is not ignored; returns what puts the earlier ones back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in STOPPING}
    # None: a handler that another library has set from C, which cannot be put back.
    before = {number: was for number, was in before.items() if was not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)

    def restore() -> None:
        for number, was in before.items():
            signal.signal(number, was)

    return restore
