"""Finds secrets in streams, logs and tracebacks, also encoded and split between writes, and masks them.

Looked for are a value's own UTF-8 bytes, its base64 (RFC 4648, both alphabets, at all three
alignments), its hex digits, its URL-, JSON-, shell-, Python- and HTML-escaped forms, and each line of a
multi-line value, which counts as a value of its own. Everything that overlaps a find is covered, so
that two values that overlap leave nothing behind. Values under `MIN_CHARACTERS` are not looked for:
they would mask ordinary text.

`install(registry)` masks what a process logs, and the tracebacks it dies with. Nothing is remembered
before it is called, so that reads cost what they always cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom.masking.forms import MIN_CHARACTERS, forms, leaves
from strongroom.masking.process import known, mask, remember
from strongroom.masking.stream import HELD_SECONDS, MARK, Masker, MaskingStream

if TYPE_CHECKING:
    from strongroom.masking.logs import MaskingFilter, install

__all__ = [
    "HELD_SECONDS",
    "MARK",
    "MIN_CHARACTERS",
    "Masker",
    "MaskingFilter",
    "MaskingStream",
    "forms",
    "install",
    "known",
    "leaves",
    "mask",
    "remember",
]


def __getattr__(name: str) -> Any:
    # `run` needs no logging, and starts faster without.
    if name in {"MaskingFilter", "install"}:
        from strongroom.masking import logs

        return getattr(logs, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
