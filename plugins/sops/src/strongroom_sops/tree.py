"""A file of sops as keys and values: `/` descends, and every leaf is a secret.

A key is the way to a leaf, its names joined by `/`. Names that sops or strongroom could not hold are escaped
by the marker `=_` and hexadecimal digits, in .env files by `_0x`. Where `a` is a leaf, `a/b` is kept as one
name.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from strongroom.errors import InvalidKeyError, show_key
from strongroom.keys import NameCodec, check_key, escape, unescape

__all__ = ["Path", "Tree", "argument_of", "parsed"]

Path = tuple[str | int, ...]
"""The path of a leaf: names of members, and indexes in lists."""

_MARKER: Final = "=_"
_NESTED_UNSAFE: Final = re.compile(r"(?<==)_|[\[\]\"'\\\ufeff\ufffe\uffff]|^ | $|^<(?=<$)")
"""Among them `<<`, by which YAML merges one mapping into another."""
_FLAT_MARKER: Final = "_0x"
_FLAT: Final = NameCodec(_FLAT_MARKER, "A-Za-z0-9_", 1 << 20)
_IN_CLEAR: Final = "_unencrypted"
"""The suffix of members that sops leaves unencrypted."""
_METADATA: Final = "sops"


def parsed(data: bytes) -> Any:
    """Return what sops gave as JSON, each number as it is written, and null as no text.

    Raises:
        ValueError, RecursionError: It is not JSON, or nested too deeply.
    """
    return json.loads(data, parse_int=str, parse_float=str, parse_constant=str)


class Tree:
    """The decrypted file.

    Args:
        root: Its members.
        is_flat: Whether its format has no members of members (.env).
        is_json: Whether its format is JSON, in which sops takes `Sops` for its own metadata as well.
    """

    def __init__(self, root: Mapping[str, Any], *, is_flat: bool, is_json: bool = False) -> None:
        self.root = root
        self.is_flat = is_flat
        self.is_json = is_json
        self._marker = _FLAT_MARKER if is_flat else _MARKER
        self.paths: dict[str, list[Path]] = {}
        """The paths of each key; only other programs make more than one."""
        self._values: dict[Path, Any] = {}
        for path, value in _leaves(root, ()):
            key = self._key_of(path)
            if key is not None:
                self.paths.setdefault(key, []).append(path)
                self._values[path] = value
        for key, paths in self.paths.items():
            paths.sort(key=lambda path: (path != self._plain(key), len(path), path != ()))

    def value(self, key: str) -> str | None:
        """Return the text of `key`, which must be there; None if it is null."""
        found = self._values[self.paths[key][0]]
        if isinstance(found, bool):
            return "true" if found else "false"
        return found if isinstance(found, str) else None

    def path_for(self, key: str) -> Path:
        """Return the path of `key`, existing or new.

        Raises:
            InvalidKeyError: Members of its name are there, and the name has no other form.
        """
        if key in self.paths:
            return self.paths[key][0]
        plain = self._plain(key)
        here: Any = self.root
        for number, name in enumerate(plain[:-1]):
            if not isinstance(here, Mapping) or name not in here:
                return plain
            inside = here[name]
            if not isinstance(inside, Mapping):  # a leaf is in the way: the rest is one name beside it
                return (*plain[:number], self._apart("/".join(map(str, plain[number:])), here, key))
            here = inside
        last = str(plain[-1])
        return (*plain[:-1], self._apart(last, here, key) if isinstance(here, Mapping) else last)

    def is_followed(self, path: Path) -> bool:
        """Return whether `path` leads to a member of a list that has others behind it."""
        last = path[-1]
        return isinstance(last, int) and last < len(_down(self.root, path[:-1])) - 1

    def taken_out(self, paths: Iterable[Path]) -> list[Path]:
        """Return the paths to remove, in order, so that `paths` are gone.

        A mapping or list that becomes empty is removed itself, if it is in a mapping.
        """
        root = copy.deepcopy(self.root)
        gone: list[Path] = []
        # From the end of lists on, so that the places of the others stay.
        for path in sorted(paths, key=repr, reverse=True):
            upper = path
            while len(upper) > 1 and isinstance(upper[-2], str) and len(_down(root, upper[:-1])) == 1:
                upper = upper[:-1]
            del _down(root, upper[:-1])[upper[-1]]
            gone.append(upper)
        return gone

    def _apart(self, name: str, among: Mapping[str, Any], key: str) -> str:
        """Return `name`, or an escaped form if another member has it."""
        plain = unescape(self._marker, name)
        forms = [
            name,
            *(name[:at] + escape(self._marker, name[at]) + name[at + 1 :] for at in range(len(name))),
        ]
        # Without those that escape a part of an escape: they are other names.
        free = [one for one in forms if unescape(self._marker, one) == plain and one not in among]
        if not free:  # each of its characters is escaped already: `[` beside `[/0`
            raise InvalidKeyError(
                key, f"invalid key {show_key(key)}: the file has members of that name, and cannot have both"
            )
        return free[0]

    def _plain(self, key: str) -> Path:
        if self.is_flat:
            name = _not_in_clear(_FLAT.escape(key), _FLAT_MARKER)
            # There what sops writes about the file has names of that beginning.
            is_its = name == _METADATA or name.startswith(f"{_METADATA}_")
            return (escape(_FLAT_MARKER, "s") + name[1:] if is_its else name,)
        names = [_not_in_clear(_escape(segment), _MARKER) for segment in key.split("/")]
        if (names[0].casefold() if self.is_json else names[0]) == _METADATA:
            names[0] = escape(_MARKER, names[0][0]) + names[0][1:]
        return tuple(names)

    def _key_of(self, path: Path) -> str | None:
        names = [str(name) if isinstance(name, int) else unescape(self._marker, name) for name in path]
        if None in names:
            return None
        try:
            return check_key("/".join(map(str, names)))
        except InvalidKeyError:
            return None


def _down(root: Any, path: Path) -> Any:
    for name in path:
        root = root[name]
    return root


def argument_of(path: Path) -> str:
    """Return the path of a leaf as an argument of sops.

    Raises:
        ValueError: It cannot be an argument of sops.
    """
    for name in path:
        if isinstance(name, str) and re.search(r"[\[\]\"'\\\x00-\x1f]", name):
            raise ValueError
    return "".join(f"[{name}]" if isinstance(name, int) else f'["{name}"]' for name in path)


def _escape(segment: str) -> str:
    return _NESTED_UNSAFE.sub(lambda found: escape(_MARKER, found.group()), segment)


def _not_in_clear(name: str, marker: str) -> str:
    """Return a form of the name with which sops does not leave the value unencrypted."""
    return name[:-1] + escape(marker, name[-1]) if name.endswith(_IN_CLEAR) else name


def _leaves(thing: Any, above: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(thing, Mapping):
        for name, inside in thing.items():
            yield from _leaves(inside, (*above, name))
    elif isinstance(thing, Sequence) and not isinstance(thing, str):
        for number, inside in enumerate(thing):
            yield from _leaves(inside, (*above, number))
    else:
        yield above, thing
