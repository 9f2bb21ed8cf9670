"""The one exception that means: the input is wrong, and here is what to do."""

from __future__ import annotations


class InputError(ValueError):
    """A mistake in a file or an argument, told in one line.

    The message says what was wrong, in which file or argument, and what to do about it. Command-line
    entry points print it without a traceback; everything else is a bug and keeps its traceback.

    Example:
        >>> from msa2net_lib import InputError, build_network
        >>> try:
        ...     build_network("msa2net", num_classes=1)
        ... except InputError as error:
        ...     print(error)
        num_classes=1: give at least 2, background counts as a class

    Source: this project.
    """
