"""Tells how far a value and a text go on alike from a place in both, to the right and to the left."""

from __future__ import annotations

from strongroom.masking.steps import escape_end, reread_left, reread_right, step_left, step_right

__all__ = ["extend_left", "extend_right"]


def extend_right(data: bytes, at: int, raw: bytes, place: int) -> tuple[int, int]:
    """Return up to where `data` from `at` on, and `raw` from `place` on, are alike."""
    size = len(raw)
    while place < size and at < len(data):
        same = _same(data, at, raw, place)
        at, place = at + same, place + same
        while same and place < size and raw[place] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character
            at, place = at - 1, place - 1
        if place >= size or at >= len(data):
            break
        step = step_right(data, at, raw, place) or reread_right(data, at, raw, place)
        if step is None:
            break
        at, place = step
    return escape_end(data, at) if place == size else at, place


def extend_left(data: bytes, at: int, raw: bytes, place: int) -> tuple[int, int]:
    """Return from where on `data` up to `at`, and `raw` up to `place`, are alike."""
    while place and at:
        same = _same_before(data, at, raw, place)
        at, place = at - same, place - same
        while same and place < len(raw) and raw[place] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character
            at, place = at + 1, place + 1
        if not place or not at:
            break
        step = step_left(data, at, raw, place) or reread_left(data, at, raw, place)
        if step is None:
            break
        at, place = step
    return at, place


def _same(data: bytes, at: int, raw: bytes, place: int) -> int:
    """Return how many bytes of both are the same from here on."""
    low, size = 0, min(len(data) - at, len(raw) - place)
    step = 16
    while low < size:
        step = min(step, size - low)
        if data[at + low : at + low + step] != raw[place + low : place + low + step]:
            if step == 1:
                return low
            step = step // 2
            continue
        low += step
        step *= 2
    return low


def _same_before(data: bytes, at: int, raw: bytes, place: int) -> int:
    low, size = 0, min(at, place)
    step = 16
    while low < size:
        step = min(step, size - low)
        if data[at - low - step : at - low] != raw[place - low - step : place - low]:
            if step == 1:
                return low
            step = step // 2
            continue
        low += step
        step *= 2
    return low
