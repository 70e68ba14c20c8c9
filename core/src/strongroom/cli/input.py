"""A value from standard input, or from a prompt that does not show it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from strongroom.cli import errors
from strongroom.cli.standard_streams import read_stdin

__all__ = ["read_value"]


def read_value(key: str, warn: Callable[[str], object], *, raw: bool, allow_empty: bool = False) -> str:
    """Return a value from stdin, or from the user at the terminal, who is asked twice.

    Args:
        key: The key of the secret, for the prompt.
        warn: Called if the value ends with a carriage return.
        raw: Whether the newline at its end is kept.
        allow_empty: Whether the value may be empty.

    Raises:
        UsageError: It is not UTF-8 text, nothing was typed, or two different values.
    """
    if sys.stdin.isatty():
        return _asked(key, raw=raw, allow_empty=allow_empty)
    data = read_stdin()
    text = _decoded(data)
    if text is None:
        raise errors.UsageError("stdin is not UTF-8 text", hint="encode it first, for example with base64")
    if raw:
        return text
    text = text.removesuffix("\n")
    if text.endswith("\r"):
        warn("the value ends with a carriage return, as a line of a Windows file does, and is stored with it")
    return text


def _asked(key: str, *, raw: bool, allow_empty: bool) -> str:
    from strongroom.cli.prompt import ask_hidden
    from strongroom.errors import show_key

    ahead = bytearray()
    # Pasted text may end in a newline, as text from a pipe does, and Enter follows.
    end = b"" if raw else b"\n"
    first = ask_hidden(f"Value of {show_key(key)}: ", ahead).removesuffix(end)
    if not first and not allow_empty:
        raise errors.UsageError(
            "nothing was typed, and nothing was stored", hint="give --allow-empty if that is intended"
        )
    if first != ask_hidden("The same again: ", ahead).removesuffix(end):
        raise errors.UsageError("the two values differ, and nothing was stored", hint="do it again")
    text = _decoded(first)
    if text is None:
        raise errors.UsageError("what was typed is not UTF-8 text", hint="pipe it in, as base64")
    return text


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
