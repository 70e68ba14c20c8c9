"""Writes to stdout: values byte for byte, JSON, and tables, which are drawn only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

__all__ = [
    "as_json",
    "colour",
    "from_now",
    "is_drawn",
    "lines",
    "moment",
    "printable",
    "progress",
    "span",
    "table",
    "to_stderr",
    "value",
]

_HOUR, _DAY = 3600, 86400


def value(text: str) -> None:
    """Write a secret's value as UTF-8 whatever the locale; a newline follows only on a terminal."""
    raw(text.encode())
    if sys.stdout.isatty():
        raw(b"\n")


def raw(data: bytes) -> None:
    """Write bytes.

    Raises:
        OSError: They cannot be written; its `filename` says that it is standard output.
    """
    try:
        sys.stdout.flush()
        _write_all(sys.stdout.buffer, data)
    except OSError as error:
        if error.filename is None:
            error.filename = "standard output"
        raise


def to_stderr(text: str) -> None:
    """Write text to stderr, all of it, for a program that reads it there."""
    sys.stderr.flush()
    _write_all(sys.stderr.buffer, text.encode())


def _write_all(stream: BinaryIO, data: bytes) -> None:
    """Write all of `data`, even if the stream does not block.

    Another program may leave a terminal or pipe so. Python then writes what there is room for, and raises
    nothing.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[stream.write(left) :]
        except BlockingIOError as error:
            left = left[error.characters_written :]
        if left:
            _wait_for_room(stream)
    while True:
        try:
            stream.flush()
        except BlockingIOError:
            _wait_for_room(stream)
        else:
            return


def _wait_for_room(stream: BinaryIO) -> None:
    import select

    select.select([], [stream], [])


def as_json(answer: object) -> None:
    """Write one JSON object; non-ASCII is escaped, so that the locale does not matter."""
    import json

    raw((json.dumps(answer, indent=2 if sys.stdout.isatty() else None) + "\n").encode())


def lines(texts: Iterable[str]) -> None:
    """Write lines, as UTF-8."""
    raw("".join(f"{text}\n" for text in texts).encode(errors="backslashreplace"))


def colour() -> bool:
    """Return whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_drawn() -> bool:
    """Return whether a table is drawn for a person, and not written for a program."""
    return sys.stdout.isatty()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table in columns two blanks apart, fitted to the width of a terminal if it goes to one."""
    headings = [heading.upper() for heading in headings]
    body = [list(map(str, row)) for row in rows]
    if is_drawn():
        from strongroom.cli.drawing import drawn_table

        lines(drawn_table(headings, body, columns=_columns(), bold=colour()))
        return
    widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]
    lines(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *body)
    )


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


@contextmanager
def progress(about: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows on a terminal how many are done, and how many there are in all.

    If Ctrl-C ends the block, the last numbers are printed.
    """
    shows = sys.stderr.isatty()
    last = (0, 0)
    shown = ""

    def advance(done: int, total: int) -> None:
        nonlocal last, shown
        last = (done, total)
        line = f"{about}: {done * 100 // max(total, 1)} % of {total}"
        if shows and line != shown:
            shown = line
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()

    ended = False
    try:
        yield advance
    except KeyboardInterrupt:
        ended = True
        raise
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
        if ended:
            done, total = last
            after = f"after {done} of {total}" if total else "before anything was done"
            sys.stderr.write(f"{about}: interrupted {after}\n")
        sys.stderr.flush()


def moment(at: datetime, *, timespec: str = "auto") -> str:
    """Return a time for a cell of a table: on a terminal to the second, to save space.

    Args:
        at: The time; aware.
        timespec: How exact it is without a terminal, as for `datetime.isoformat`.
    """
    if not is_drawn():
        return at.isoformat(timespec=timespec)
    from datetime import UTC  # most commands show no time

    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def span(seconds: float) -> str:
    """Return a length of time in one unit, such as `3d`."""
    if seconds < _HOUR:
        return f"{max(0, int(seconds // 60))}m"
    return f"{int(seconds // _HOUR)}h" if seconds < 2 * _DAY else f"{int(seconds // _DAY)}d"


def from_now(seconds: float) -> str:
    """Return a time that is `seconds` from now, or ago if they are negative, such as `in 3d` and `3d ago`."""
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 key` or `2 keys`; `plural` if it is not the noun and `s`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def printable(path: str) -> str:
    """Return a path for a line of text: escaped if it holds a newline or a control character."""
    return path if path.isprintable() else ascii(path)
