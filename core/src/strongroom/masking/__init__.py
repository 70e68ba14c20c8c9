"""Finds secrets in streams, logs and tracebacks, also encoded and split between writes, and masks them.

Looked for are a value's own UTF-8 bytes, its base64 (RFC 4648, both alphabets, at all three
alignments), its hex digits, its URL-, JSON-, shell-, Python- and HTML-escaped forms, and each line of a
multi-line value, which counts as a value of its own. Everything that overlaps a find is covered, so
that two values that overlap leave nothing behind. Values under `MIN_CHARACTERS` are not looked for:
they would mask ordinary text.
"""

from __future__ import annotations

from strongroom.masking.forms import MIN_CHARACTERS, forms, leaves
from strongroom.masking.stream import HELD_SECONDS, MARK, Masker, MaskingStream

__all__ = ["HELD_SECONDS", "MARK", "MIN_CHARACTERS", "Masker", "MaskingStream", "forms", "leaves"]
