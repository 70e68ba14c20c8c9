"""What a stranger says when it fails, made fit to be told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom.masking import Masker, leaves

__all__ = ["without"]

_SHOWN: Final = 200


def without(values: Iterable[str], text: str, *, end: bool = False) -> str:
    """Return `text` in one line of 200 characters at most, without `values` in any encoding.

    What is longer is cut off behind them, or where `end` is set before its last ones. Nothing is left where a
    value is too short to be looked for and may stand in it.
    """
    looked_for = [part for value in values for part in (value, *leaves(value))]
    # Masked before anything is cut off or joined: a part of a value would not be found.
    masked = " ".join(Masker(looked_for).mask_text(text).split())
    if any(value and value in masked for value in looked_for):
        return ""
    return masked[-_SHOWN:] if end else masked[:_SHOWN]
