"""Text that is nearly a key: with a line end or quotes around it, in another alphabet, or cut off.

By the rules such a text would be a passphrase, which nobody means: neither the key itself nor another program
could decrypt what it encrypts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["lookalike"]

_ANY = "A-Za-z0-9_+/-"
_FERNET: Final = re.compile(rf"[{_ANY}]{{43}}=")
_PADDED: Final = re.compile(rf"(?<![{_ANY}])([{_ANY}]{{43,}})(=+)(?=([{_ANY}]?))")
"""A run of characters that ends as a Fernet key does, its padding, and what follows without a gap."""
_LONGER: Final = re.compile(rf"(?:[{_ANY}]{{4}}){{11,}}(?:[{_ANY}]{{3}}=|[{_ANY}]{{2}}==)")
"""More bytes in base64 than a key has, as `openssl rand -base64 64` prints them for a passphrase."""
_BARE: Final = re.compile(rf"[{_ANY}]{{42}}[AEIMQUYcgkosw048]")
"""Of the last character's six bits two are spare, and zero where a program wrote it."""
_WORDS: Final = re.compile(r"[a-z_+/-]+")
"""Passphrases of words; of 32 random bytes one in a billion has no capital and no digit."""
_GENERATED: Final = re.compile(r"(?=(srk1_[A-Za-z0-9_+/-]{48}))")
"""Looked for at every place: one that begins within another text that looks so is found too."""
_GENERATED_TAIL: Final = re.compile(rf"[{_ANY}]{{48}}")
_WRAPPING: Final = re.compile(r"\Ab?(['\"`])(.*)\1\Z", re.DOTALL)
_NAMES: Final = (
    ("a line end", re.compile(r"[\r\n\u2028\u2029]")),
    ("blanks", re.compile(r"[\s\u200b\ufeff]")),
    ("quotes", re.compile(r"['\"`\u2018-\u201e]")),
)


def lookalike(text: str, generated: Callable[[str], object | None]) -> str | None:
    """Return what `text` nearly is, in words that do not show it; None if it is not nearly a key.

    Args:
        text: A text that is not a key.
        generated: Returns something for a generated key whose checksum is right, and None for other text.
    """
    for match in _GENERATED.finditer(text):
        if generated(match[1].translate(_TO_URL_SAFE)) is not None:
            return _describe("a generated key", text, match.start(1), match.end(1))
    for match in _PADDED.finditer(text):
        end = match.end(1) + 1
        longer = not match[3] and _LONGER.fullmatch(match[0])
        if not longer and not _WORDS.fullmatch(text, end - 44, end - 1):
            return _describe("a Fernet key", text, end - 44, end)
    core = _unwrapped(text)
    if _BARE.fullmatch(core) and not _WORDS.fullmatch(core):
        return "a Fernet key without the `=` at its end" + (
            "" if core == text else ", and with something around it"
        )
    if _GENERATED_TAIL.fullmatch(core) and generated(f"srk1_{core.translate(_TO_URL_SAFE)}") is not None:
        return "a generated key without its beginning `srk1_`"
    return _in_pieces(text, generated)


_TO_URL_SAFE: Final = str.maketrans("+/", "-_")


def _describe(what: str, text: str, start: int, end: int) -> str:
    around = text[:start] + text[end:]
    other = not _TO_URL_SAFE.keys().isdisjoint(map(ord, text[start:end]))
    description = what + (" in the alphabet of standard base64, with `+` and `/`" if other else "")
    if not around:
        return description
    near = []
    for name, pattern in _NAMES:
        around, times = pattern.subn("", around)
        near += [name] * bool(times)
    if around:
        near.append("other text")
    return f"{description} with {' and '.join(near[:2])} around it"


def _unwrapped(text: str) -> str:
    core = text.strip(" \t\r\n\u200b\ufeff")
    quoted = _WRAPPING.match(core)
    return (quoted[2] if quoted is not None else core).strip()


def _in_pieces(text: str, generated: Callable[[str], object | None]) -> str | None:
    whole = "".join(text.split())
    if whole == text:
        return None
    if generated(whole) is not None:
        return "a generated key with blanks or line ends in it"
    if _FERNET.fullmatch(whole):
        return "a Fernet key with blanks or line ends in it"
    return None
