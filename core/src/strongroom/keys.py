"""The rules for keys, the same for every backend, and names for keys that a service does not accept.

A key is 1-512 characters: segments joined by `/`, none of them empty, `.` or `..`; no control
character (Unicode category Cc, U+2028, U+2029) and no lone surrogate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from strongroom.errors import InvalidKeyError, ValidationError, show_key
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "MAX_KEY_CHARACTERS",
    "ROTATION_SEGMENT",
    "Name",
    "NameCodec",
    "cannot_start_key",
    "check_key",
    "check_keys",
    "check_prefix",
    "check_value",
    "distinct",
    "escape",
    "is_key",
    "is_reserved",
    "matching_key",
    "record_key",
    "unescape",
    "visible_keys",
]

MAX_KEY_CHARACTERS = 512
ROTATION_SEGMENT = ".rotation"
"""A key with this segment holds the state of a rotation: kept from users and out of every list."""

_LONGEST_RECORD_KEY = 400
"""Characters of the key of a rotation's record at most: a tenant's prefix has room before it."""

_FORBIDDEN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_FORBIDDEN_WORDS = "a control character or lone surrogate"
_BAD_SEGMENTS = frozenset({"", ".", ".."})


# Names are not secrets, so remembering the good ones is harmless and makes the check a look-up.
@lru_cache(maxsize=8192)
def check_key(key: str) -> str:
    """Return `key`, or raise `InvalidKeyError` if it breaks the rules.

    Raises:
        TypeError: It cannot be hashed, such as a list; a pipeline raises `InvalidKeyError` then.
    """
    if not isinstance(key, str):
        raise not_text(key)
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        what = "it is empty" if not key else f"longer than {MAX_KEY_CHARACTERS} characters"
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: {what}")
    if _has_forbidden(key):
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: {_FORBIDDEN_WORDS}")
    if (  # only a key with a dot has to be split
        "//" in key
        or key[0] == "/"
        or key[-1] == "/"
        or ("." in key and not _BAD_SEGMENTS.isdisjoint(key.split("/")))
    ):
        raise InvalidKeyError(
            key,
            f"invalid key {show_key(key)}: an empty, '.' or '..' segment",
            hint="join segments with single slashes, as in 'database/password'",
        )
    return key


def not_text(key: Any) -> InvalidKeyError:
    """Return what is raised for a key of another type."""
    return InvalidKeyError(key, f"invalid key: expected text, got {show_key(key)}")


def distinct(keys: Iterable[str]) -> list[str]:
    """Return `keys` in their order, each once.

    Raises:
        TypeError: It is a single text, whose characters would be taken for keys.
        InvalidKeyError: One of them cannot be looked up, such as a list.
    """
    if isinstance(keys, str | bytes | bytearray):
        raise TypeError(f"expected several keys, got a {type(keys).__name__}; put one key into a list")
    listed = list(keys)
    try:
        return list(dict.fromkeys(listed))
    except TypeError:
        wrong = next(key for key in listed if not isinstance(key, str))
    raise not_text(wrong)


def check_keys(keys: Iterable[str]) -> list[str]:
    """Return `keys` in their order, each once, or raise as `check_key` and `distinct` do."""
    return [check_key(key) for key in distinct(keys)]


def check_prefix(prefix: str) -> str:
    """Return `prefix`, the beginning of keys' text, or raise `InvalidKeyError`.

    A prefix may be empty and may end anywhere, even after a `/` or within a segment.
    """
    if not isinstance(prefix, str):
        raise InvalidKeyError(prefix, f"invalid prefix: expected text, got {show_key(prefix)}")
    if len(prefix) > MAX_KEY_CHARACTERS or _has_forbidden(prefix):
        is_long = len(prefix) > MAX_KEY_CHARACTERS
        what = f"longer than {MAX_KEY_CHARACTERS} characters" if is_long else _FORBIDDEN_WORDS
        raise InvalidKeyError(prefix, f"invalid prefix {show_key(prefix)}: {what}")
    return prefix


def _has_forbidden(text: str) -> bool:
    # Of ASCII, what is printable is what is allowed: most keys need no pattern, which takes long to compile.
    if text.isascii():
        return not text.isprintable()
    return re.search(_FORBIDDEN, text) is not None


def cannot_start_key(prefix: str) -> bool:
    """Return whether no key can begin with `prefix`, since a whole segment of it is empty, `.` or `..`."""
    return not _BAD_SEGMENTS.isdisjoint(prefix.split("/")[:-1])


def is_reserved(key: str) -> bool:
    """Return whether `key` belongs to the state of a rotation, at any depth."""
    return ROTATION_SEGMENT in key and ROTATION_SEGMENT in key.split("/")


def starts_reserved(prefix: str) -> bool:
    """Return whether every key that begins with `prefix` is reserved: a whole segment of it is."""
    return is_reserved(prefix.rpartition("/")[0])


def record_key(key: str) -> str:
    """Return the reserved name beside `key` under which the state of its rotation is kept."""
    parent, _, leaf = key.rpartition("/")
    beside = f"{parent}/{ROTATION_SEGMENT}/{leaf}" if parent else f"{ROTATION_SEGMENT}/{leaf}"
    if len(beside) <= _LONGEST_RECORD_KEY:
        return beside
    from strongroom.runtime.digests import sha256

    digest = sha256(key.encode(errors="surrogatepass")).hexdigest()
    segments: list[str] = []
    for segment in parent.split("/") if parent else ():
        if len("/".join([*segments, segment, ROTATION_SEGMENT, digest])) > _LONGEST_RECORD_KEY:
            break
        segments.append(segment)
    return "/".join([*segments, ROTATION_SEGMENT, digest])


def is_key(text: str) -> bool:
    """Return whether `check_key` takes `text`."""
    try:
        check_key(text)
    except InvalidKeyError:
        return False
    return True


def visible_keys(keys: Iterable[str | None], prefix: str) -> list[str]:
    """Return what a list shows of `keys`: those that begin with `prefix`, sorted, none of them reserved."""
    return sorted(
        {key for key in keys if key is not None and key.startswith(prefix) and not is_reserved(key)}
    )


def check_value(value: str, key: str) -> str:
    """Return `value`, or raise if it is not text (`TypeError`) or not Unicode text (`ValidationError`)."""
    if not isinstance(value, str):
        message = f"the value for {show_key(key)} must be str, got {type(value).__name__}"
        raise TypeError(message)
    if not is_unicode(value):
        raise ValidationError(
            f"the value for {show_key(key)} holds a lone surrogate, which is not Unicode text", key=key
        )
    return value


def is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogate."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


class Name(NamedTuple):
    """A key's name in a service; if `hashed`, only a text beside the secret says the key."""

    text: str
    hashed: bool


class NameCodec:
    """Keys as names of a service and back: injective, and the identity wherever possible.

    - Each UTF-8 byte of a character that a name cannot contain becomes the marker and two hexadecimal digits.
    - The last character of a marker in the key itself is escaped too, so no two keys share a name.
    - A name that is then too long becomes the marker, `h` and the SHA-256 of the key, 64 hexadecimal digits.
      The whole key has to be stored beside it, and compared at each use.

    Args:
        marker: Two or more characters that a name can contain.
        safe: The characters that a name can contain, as the inside of a regular expression's character class.
        longest: Characters of the longest name.
    """

    def __init__(self, marker: str, safe: str, longest: int) -> None:
        self.marker = marker
        self.hash_mark = f"{marker}h"
        self._longest = longest
        self._unsafe = re.compile(f"(?<={re.escape(marker[:-1])}){re.escape(marker[-1])}|[^{safe}]")
        self._hashed = re.compile(f"{re.escape(self.hash_mark)}[0-9a-f]{{64}}")

    def escape(self, text: str) -> str:
        """Return `text`, a key or a part of one, with what a name cannot hold escaped."""
        return self._unsafe.sub(lambda found: escape(self.marker, found.group()), text)

    def name_of(self, key: str) -> Name:
        """Return the name that `key` is kept under; `key` must have passed `check_key`."""
        text = self.escape(key)
        return Name(self.hashed(key), hashed=True) if len(text) > self._longest else Name(text, hashed=False)

    def hashed(self, key: str) -> str:
        """Return the name of a key that is too long for one."""
        from strongroom.runtime.digests import sha256

        return self.hash_mark + sha256(key.encode()).hexdigest()

    def is_hashed(self, name: str) -> bool:
        """Return whether `name` does not tell its key."""
        return self._hashed.fullmatch(name) is not None

    def key_for(self, name: str, stored_key: str | None) -> str | None:
        """Return the key whose name is `name`, or None where no key has it (another tool's odd name).

        Args:
            name: A name in the service.
            stored_key: The key that is kept beside it, if any; it counts where the name is hashed.
        """
        key = stored_key if self.is_hashed(name) else unescape(self.marker, name)
        return matching_key(name, key, lambda key: self.name_of(key).text)


def escape(marker: str, text: str) -> str:
    """Return `text` with every byte of its UTF-8 as `marker` and two hexadecimal digits."""
    return "".join(f"{marker}{byte:02x}" for byte in text.encode())


def unescape(marker: str, text: str) -> str | None:
    """Return `text` with every escape by `escape` undone, or None if that is not UTF-8."""
    if marker not in text:
        return text
    try:
        return re.sub(
            f"(?:{re.escape(marker)}[0-9a-f]{{2}})+",
            lambda found: bytes.fromhex(found.group().replace(marker, "")).decode(),
            text,
        )
    except UnicodeDecodeError:
        return None


def matching_key(name: str, key: str | None, name_of: Callable[[str], str]) -> str | None:
    """Return `key` if it is a key, and its name by `name_of` is `name`; otherwise None."""
    try:
        return key if key is not None and name_of(check_key(key)) == name else None
    except InvalidKeyError:
        return None
