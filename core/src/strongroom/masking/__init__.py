"""Finds secrets in streams, logs and tracebacks, even encoded or split between writes, and masks them.

Looked for is what no encoder changes, a value's letters and digits; from there the value is followed through
whatever was escaped, doubled, wrapped or coloured; base64, hexadecimal digits and lists of numbers are read.
Everything that overlaps a find is covered, so that two values that overlap leave nothing behind. Values under
`MIN_CHARACTERS` are not looked for: they would mask ordinary text.

`install(registry)` masks what a process logs, and the tracebacks it dies with. Nothing is remembered
before it is called, so that reads cost what they always cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.masking.encodings import forms, json_texts
    from strongroom.masking.known_values import known, mask, remember
    from strongroom.masking.limits import HELD_SECONDS, MARK, MIN_CHARACTERS
    from strongroom.masking.log_filter import MaskingFilter, install
    from strongroom.masking.stream import Masker, MaskingStream

__all__ = [
    "HELD_SECONDS",
    "MARK",
    "MIN_CHARACTERS",
    "Masker",
    "MaskingFilter",
    "MaskingStream",
    "forms",
    "install",
    "json_texts",
    "known",
    "mask",
    "remember",
]

# `run` needs no logging, and nothing to mask with before its child prints; it starts faster without.
_HOMES = {
    "HELD_SECONDS": "limits",
    "MARK": "limits",
    "MIN_CHARACTERS": "limits",
    "Masker": "stream",
    "MaskingFilter": "log_filter",
    "MaskingStream": "stream",
    "forms": "encodings",
    "install": "log_filter",
    "json_texts": "encodings",
    "known": "known_values",
    "mask": "known_values",
    "remember": "known_values",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
