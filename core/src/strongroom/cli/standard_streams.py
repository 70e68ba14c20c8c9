"""Standard streams that were closed when the process began, as by `>&-` in a shell."""

from __future__ import annotations

import os
import sys

__all__ = ["closed_at_start", "fill_closed"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_MODES = ((_STDIN, os.O_WRONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_RDONLY))
_CLOSED: set[int] = set()


def fill_closed() -> None:
    """Put something where a standard stream is closed: the next file that is opened would take its number.

    A store would get what is meant for standard output. What is put there fails as a closed descriptor does,
    and a program that is started does not get it.
    """
    for descriptor, mode in _MODES:
        try:
            os.fstat(descriptor)
        except OSError:
            _CLOSED.add(descriptor)
            os.open(os.devnull, mode)  # it takes the lowest number that is free
    if _STDIN in _CLOSED:
        sys.stdin = open(_STDIN, closefd=False)  # noqa: SIM115  # as Python makes it
    if _STDOUT in _CLOSED:
        sys.stdout = open(_STDOUT, "w", closefd=False)  # noqa: SIM115
    if _STDERR in _CLOSED:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # there is nobody to tell


def closed_at_start() -> frozenset[int]:
    """Return the numbers of those that were closed."""
    return frozenset(_CLOSED)
