"""The values that are masked in a child's output."""

from __future__ import annotations

from functools import cache

from strongroom.masking.limits import MIN_CHARACTERS, UNMASKED_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from strongroom.declarations.resolution import Resolution
    from strongroom.masking import Masker

__all__ = ["masked_texts", "masker_of"]


def masked_texts(found: Mapping[str, Resolution]) -> tuple[list[str], str | None]:
    """Return the values to mask, and a warning about any that should be but cannot."""
    texts, unmasked = [], []
    for resolution in found.values():
        text = resolution.known_text
        if text is not None and not _is_default(resolution):
            if (reason := _unmaskable_reason(resolution)) is not None:
                unmasked.append(f"{resolution.plan.name} ({reason})")
            elif resolution.plan.mask:
                texts.append(text)
        # The child sees the parts of a composed secret, even if it does not get them as variables.
        texts += [
            made_of
            for part in _made_of(resolution)
            if (made_of := part.known_text) is not None
            and not _is_default(part)
            and part.plan.mask
            and _unmaskable_reason(part) is None
        ]
    return texts, f"not masked: {', '.join(unmasked)}" if unmasked else None


def masker_of(texts: Sequence[str]) -> Callable[[], Masker] | None:
    """Return a function that makes the masker; None if there is nothing to mask."""

    @cache
    def make() -> Masker:
        from strongroom.masking import Masker
        from strongroom.masking.parts import parts

        return Masker([text for value in texts for text in (value, *parts(value))])

    return make if texts else None


def _is_default(one: Resolution) -> bool:
    return one.known_text == one.plan.default  # everybody who can read the spec knows it


def _made_of(one: Resolution) -> Iterator[Resolution]:
    for part in one.parts:
        yield part
        yield from _made_of(part)


def _unmaskable_reason(one: Resolution) -> str | None:
    """Return why a value cannot be masked, unless the spec itself says not to."""
    if not one.plan.mask or not one.known_text:
        return None
    if one.plan.type in UNMASKED_TYPES and one.refused is None:
        return f"of type {one.plan.type}"
    if len(one.known_text) < MIN_CHARACTERS:
        return f"fewer than {MIN_CHARACTERS} characters"
    return None
