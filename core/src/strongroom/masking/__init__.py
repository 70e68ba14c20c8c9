"""Finds secrets in streams, logs and tracebacks, even encoded or split between writes, and masks them.

No encoder changes a value's letters and digits: the finder looks for short runs of these, and from each it
follows the value through whatever a program escaped, doubled, wrapped or coloured. It also decodes base64,
hexadecimal digits and lists of numbers. Finds that overlap get one mask, so that no part of either value is
left. Values under `MIN_CHARACTERS` are not looked for: they would mask ordinary text.

`install(registry)` masks what a process logs, and the traceback with which it ends. Before it is called no
value is remembered, and reads cost no more than without it.
"""

from __future__ import annotations

from strongroom._lazy import lazy_exports

TYPE_CHECKING = False
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
