"""A value from standard input, or from a prompt that does not show it."""

from __future__ import annotations

import sys

from strongroom.cli import errors

__all__ = ["read_value"]


def read_value(key: str, *, raw: bool) -> str:
    """Return a value from stdin, or from whoever sits at the terminal.

    Raises:
        UsageError: It is not UTF-8 text.
    """
    if sys.stdin.isatty():
        import getpass

        from strongroom.errors import show_key

        return getpass.getpass(f"Value of {show_key(key)}: ")
    data = sys.stdin.buffer.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise errors.UsageError("stdin is not UTF-8 text", hint="encode it first, for example with base64")
    return text if raw else text.removesuffix("\n")
