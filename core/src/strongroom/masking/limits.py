"""Limits of masking, for code that need not load the rest of it."""

from __future__ import annotations

__all__ = ["ENOUGH", "HELD_SECONDS", "MARK", "MIN_CHARACTERS", "UNMASKED_TYPES"]

MIN_CHARACTERS = 4
"""Shorter values would mask ordinary text, and are not looked for."""
HELD_SECONDS = 0.03
"""How long an undecided tail is held before `MaskingStream.release`; 50 ms are promised, reading included."""
UNMASKED_TYPES = frozenset({"integer", "boolean", "port"})
"""Types of declared secrets whose values are ordinary words of any text."""
MARK = b"********"
ENOUGH = 12
"""So many letters and digits of a value in a row are masked even if the rest of it is missing."""
