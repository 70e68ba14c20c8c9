"""What a program or a service says when it fails, without the values of secrets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom.errors import StrongroomError
from strongroom.masking import Masker
from strongroom.masking.parts import parts

__all__ = ["redact", "redacted_error"]

_SHOWN: Final = 200
"""Characters of a program's output."""
_SHOWN_OF_ERROR: Final = 400
"""Characters of an error's text: a program's output, after the words of `CommandRotator`."""


def redact(values: Iterable[str], text: str, *, shown: int = _SHOWN) -> str:
    """Return `text` in one line of `shown` characters at most, without `values` in any encoding.

    A longer text loses its beginning: the last words say why. Nothing is left if it may hold a value that is
    too short to be masked.
    """
    looked_for = [part for value in values for part in (value, *parts(value))]
    # Masked before lines are joined or cut off: a part of a value would not be found.
    masked = " ".join(Masker(looked_for).mask_text(text).split())
    if any(value and value in masked for value in looked_for):
        return ""
    return masked if len(masked) <= shown else f"…{masked[1 - shown :]}"


def redacted_error(error: Exception, values: Iterable[str]) -> str:
    """Return what `error` says, without `values`."""
    name = type(error).__name__
    try:
        text = redact(values, str(error), shown=_SHOWN_OF_ERROR)
    except Exception:  # noqa: BLE001  # a third party's method
        return name
    if isinstance(error, StrongroomError):
        return text or name
    return f"{name}: {text}" if text else name
