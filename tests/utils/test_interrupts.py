"""Signals that ask for an end: held back, told apart, and left alone where a process ignores them."""

from __future__ import annotations

import signal
from contextlib import contextmanager

import pytest

from msa2net_lib.utils.interrupts import Stopped, deferred_interrupt, stoppable

ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def handled(number, handler):
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", ASKING)
def test_the_first_is_held_back_and_named_and_the_second_stops_at_once(number):
    with handled(number, signal.default_int_handler):
        with deferred_interrupt() as requested:
            assert not requested.is_set()
            signal.raise_signal(number)
            assert (requested.is_set(), requested.number) == (True, number)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler


@pytest.mark.parametrize("number", ASKING)
def test_what_a_process_was_started_to_ignore_it_goes_on_ignoring(number):
    with handled(number, signal.SIG_IGN):
        with deferred_interrupt() as requested:
            signal.raise_signal(number)
        assert not requested.is_set()
        with stoppable():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", ASKING)
def test_elsewhere_it_ends_like_ctrl_c_and_says_which_it_was(number):
    with handled(number, signal.default_int_handler):
        with pytest.raises(Stopped) as stop, stoppable():
            signal.raise_signal(number)
        assert stop.value.number == number
        assert signal.getsignal(number) is signal.default_int_handler
