"""Standard streams that were closed when the process began, as by `>&-` in a shell, and its terminal."""

from __future__ import annotations

import errno
import os
import sys

__all__ = [
    "closed_at_start",
    "controlling_terminal",
    "fill_closed",
    "input_may_not_block",
    "is_controlled",
    "output_was_closed",
    "read_stdin",
]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_MODES = ((_STDIN, os.O_WRONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_RDONLY))
_CLOSED: set[int] = set()


def fill_closed() -> None:
    """Open the null device for each standard stream that is closed, or the next file would get its number.

    Otherwise standard output might be written to a store. The null device is opened the wrong way round, so
    that reading and writing fail as for a closed stream, and no child inherits it.
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
        sys.stdout = open(_STDOUT, "w", closefd=False)  # noqa: SIM115  # as above
    if _STDERR in _CLOSED:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # errors cannot be shown


def closed_at_start() -> frozenset[int]:
    """Return the numbers of those that were closed."""
    return frozenset(_CLOSED)


def output_was_closed(error: OSError) -> bool:
    """Return whether `error` says only that standard output was closed when the process began."""
    of_output = error.filename is None or error.filename == "standard output"
    return _STDOUT in _CLOSED and error.errno == errno.EBADF and of_output


def read_stdin() -> bytes:
    """Return all of standard input, even if another program has left it so that it does not block.

    Raises:
        OSError: It cannot be read; its `filename` says that it is standard input.
    """
    stream = sys.stdin.buffer
    try:
        if not input_may_not_block():
            return stream.read()
        import select

        pieces: list[bytes] = []
        piece: bytes | None = None
        while piece != b"":  # the end; None says only that nothing is there yet
            pieces.append(piece or b"")
            select.select([stream], [], [])
            piece = stream.read()
        return b"".join(pieces)
    except OSError as error:
        error.filename = "standard input"
        raise


def input_may_not_block() -> bool:
    """Return whether a read of standard input gives only what is there by now."""
    try:
        return not os.get_blocking(sys.stdin.fileno())
    except (OSError, ValueError):  # it is closed, or not a file
        return False


def is_controlled() -> bool:
    """Return whether this process belongs to the session of a terminal."""
    descriptor = controlling_terminal()
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def controlling_terminal() -> int:
    """Return a descriptor of the terminal that controls us; -1 if there is none."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1
