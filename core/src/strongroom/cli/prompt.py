"""A prompt that does not show what is typed, and accepts pasted text of several lines."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

__all__ = ["ask_hidden"]

# Ask the terminal to mark the beginning and end of pasted text, whose newlines are then not taken for Enter.
_ASK_FOR_MARKS, _NO_MARKS = b"\x1b[?2004h", b"\x1b[?2004l"
_PASTED: Final = b"\x1b[200~"
_PASTED_END: Final = b"\x1b[201~"
_ENTER, _END, _ESCAPE = b"\r\n", 0x04, 0x1B
_RUBOUT, _KILL, _WORD = b"\x7f\x08", 0x15, 0x17
_OTHER_KEY: Final = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~]|[^\[O])", re.DOTALL)
_BEGIN: Final = re.compile(rb"-----BEGIN ([^\r\n]*?)-----[^\r\n]*[\r\n]")


def ask_hidden(question: str, typed_ahead: bytearray) -> bytes:
    """Ask at the terminal, and return what was typed up to Enter, or pasted with all its lines.

    A PEM is read to its last line even if the terminal does not mark pasted text. After Ctrl-Z and `fg` the
    question is asked again.

    Args:
        question: The text to show.
        typed_ahead: Bytes that were typed after the last answer; on return, those after this one.

    Raises:
        KeyboardInterrupt: Ctrl-C, or Ctrl-D with nothing before it.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        terminal = os.dup(sys.stdin.fileno())
    try:
        with _signal_pipe() as signals, _hidden(terminal, question.encode(errors="backslashreplace")):
            return _read(terminal, typed_ahead, signals)
    finally:
        os.close(terminal)


@contextlib.contextmanager
def _signal_pipe() -> Iterator[int]:
    """Yield a descriptor that can be read as soon as a signal has come.

    A signal that comes just before a blocking read would not end it, and its handler would wait for the read.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def _hidden(terminal: int, question: bytes) -> Iterator[None]:
    """Show `question`, and have the terminal pass on each key at once, unseen, also after a stop."""
    before = termios.tcgetattr(terminal)
    hidden: list[Any] = [*before[:6], list(before[6])]
    hidden[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
    hidden[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    hidden[6][termios.VMIN], hidden[6][termios.VTIME] = 1, 0

    def show() -> None:
        termios.tcsetattr(terminal, termios.TCSADRAIN, hidden)
        os.write(terminal, _ASK_FOR_MARKS + question)

    def hide() -> None:
        os.write(terminal, _NO_MARKS + b"\n")
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        hide()
        signal.signal(number, signal.SIG_DFL)
        os.killpg(0, number)
        signal.signal(number, stop)
        show()

    own = signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN
    old = signal.signal(signal.SIGTSTP, stop) if own else None
    try:
        show()
        yield
    finally:
        hide()
        if own:
            signal.signal(signal.SIGTSTP, old)


def _read(terminal: int, typed: bytearray, signals: int) -> bytes:
    value = bytearray()
    while True:
        at, ended = _take(value, bytes(typed))
        del typed[:at]
        data = b"" if ended else _next(terminal, signals)
        if not data:
            return bytes(value)
        typed += data


def _next(terminal: int, signals: int) -> bytes:
    while terminal not in select.select([terminal, signals], [], [])[0]:
        os.read(signals, 1 << 10)  # the signal's handler has run by now, and raised or not
    return os.read(terminal, 1 << 16)


def _take(value: bytearray, typed: bytes) -> tuple[int, bool]:
    """Add `typed` to `value`; return how many bytes of it were used, and whether Enter was pressed."""
    at = 0
    while at < len(typed):
        if typed.startswith(_PASTED, at):
            end = typed.find(_PASTED_END, at)
            if end < 0:
                break
            value += re.sub(rb"\r\n?", b"\n", typed[at + len(_PASTED) : end])
            at = end + len(_PASTED_END)
        elif typed[at] == _ESCAPE:
            if _PASTED.startswith(typed[at:]):
                break
            key = _OTHER_KEY.match(typed, at)
            at = key.end() if key is not None else at + 1
        elif typed[at] in _ENTER:
            is_pair = typed[at : at + 2] == b"\r\n"
            at += 2 if is_pair else 1
            if not _is_within_pem(value):
                return at, True
            value += b"\n"
        else:
            if typed[at] == _END:
                if not value:
                    raise KeyboardInterrupt
                return at + 1, True
            _edit(value, typed[at])
            at += 1
    return at, False


def _edit(value: bytearray, key: int) -> None:
    if key in _RUBOUT:
        while value and value.pop() & 0xC0 == 0x80:  # noqa: PLR2004  # all bytes of a character in UTF-8
            pass
    elif key == _KILL:
        value.clear()
    elif key == _WORD:
        value[:] = re.sub(rb"\S*\s*\Z", b"", bytes(value))
    else:
        value.append(key)


def _is_within_pem(value: bytearray) -> bool:
    begun = _BEGIN.match(bytes(value) + b"\n")
    return begun is not None and b"-----END " + begun[1] + b"-----" not in value
