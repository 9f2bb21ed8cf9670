"""The one exception that means: the input is wrong, and here is what to do."""

from __future__ import annotations


class InputError(ValueError):
    """A mistake in a file or an argument, told in one line.

    The message says what was wrong, in which file or argument, and what to do about it. Command-line
    entry points print it without a traceback; everything else is a bug and keeps its traceback.
    """
