"""Notes about the names that a spec declares, kept in the user's state folder for later processes.

There are three, each for the spec at one path under one profile: the keys that a name had before its present
one, the stores in which its value was seen, and the keys that were stored and have no name yet. They hold
only keys and places, never a value. For a user without a home there are none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from strongroom.paths.ownership import own_bytes
from strongroom.runtime import digests
from strongroom.runtime.frozen import NamedTuple
from strongroom.spec.secret_plan import SecretPlan
from strongroom.spec.trust import state_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "Place",
    "Sighting",
    "former_places",
    "note_declared",
    "note_sightings",
    "note_undeclared",
    "sightings_of",
    "take_undeclared",
]

_MOST_BYTES: Final = 1 << 22
_MOST_PLACES: Final = 5
_MOST_FILES: Final = 512


class Place(NamedTuple):
    """Where the value of a declared name is stored: a key, and a member of its JSON value."""

    key: str
    field: str | None


class Sighting(NamedTuple):
    """The store in which the value of a declared name was seen.

    `place` is a hash of the store's address and of the key there; `pipeline` and `key` lead to it, `type` is
    that of its provider, `path` the store's file, if it has one, and `field` the member of a JSON value.
    """

    place: str
    pipeline: str
    key: str
    type: str
    path: str | None
    field: str | None


def note_declared(source: str, profile: str | None, secrets: Mapping[str, SecretPlan]) -> None:
    """Note where each declared name leads now, after the places where it led before."""
    path = _path(source, profile, "declared")
    if path is None:
        return
    before = _noted_places(path)
    after = dict(before)
    for name, secret in secrets.items():
        if secret.compose is None:
            now, known = Place(secret.key, secret.field), before.get(name, [])
            if now not in known[-1:]:
                after[name] = [*(one for one in known if one != now), now][-_MOST_PLACES:]
    if after != before:
        _write(path, after)


def former_places(source: str, profile: str | None, secret: SecretPlan) -> list[Place]:
    """Return where the value of a declared name may have been before, the latest place first.

    The name itself is among them: `init`, `set --declare` and `import` use it as the key.
    """
    path = _path(source, profile, "declared")
    known = _noted_places(path).get(secret.name, []) if path is not None else []
    places = [*reversed(known), Place(secret.name, None)]
    now = Place(secret.key, secret.field)
    return [one for one in dict.fromkeys(places) if one != now]


def note_sightings(source: str, profile: str | None, sightings: Mapping[str, Collection[Sighting]]) -> None:
    """Note where the value of each of these names was seen, instead of earlier notes."""
    path = _path(source, profile, "seen")
    if path is None:
        return
    before = _read(path)
    before = before if isinstance(before, dict) else {}
    after = before | {name: [list(one) for one in places] for name, places in sightings.items()}
    if after != before:
        _write(path, after)


def sightings_of(source: str, profile: str | None, name: str) -> list[Sighting]:
    """Return where the value of a name was seen last: in several places if a pipeline falls back."""
    path = _path(source, profile, "seen")
    noted = _read(path) if path is not None else None
    rows = noted.get(name) if isinstance(noted, dict) else None
    return [
        Sighting(*row)
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, list)
        and len(row) == len(Sighting._fields)
        and all(isinstance(one, str) for one in row[:4])
        and all(isinstance(one, str | None) for one in row[4:])
    ]


def note_undeclared(source: str, profile: str | None, keys: Iterable[str], *, gone: bool = False) -> None:
    """Note keys that were stored and have no declared name; with `gone`, remove them from the notes."""
    path = _path(source, profile, "undeclared")
    if path is None:
        return
    before = _noted_keys(path)
    named = set(keys)
    after = [key for key in before if key not in named]
    after += [] if gone else sorted(named)
    if not after:
        _remove(path)
    elif after != before:
        _write(path, after)


def take_undeclared(source: str, profile: str | None, declared: Collection[str]) -> list[str]:
    """Return the keys that were noted as undeclared and still are, and forget them."""
    path = _path(source, profile, "undeclared")
    noted = _noted_keys(path) if path is not None else []
    if path is not None and noted:
        _remove(path)
    return [key for key in noted if key not in declared]


def _path(source: str, profile: str | None, what: str) -> str | None:
    folder = state_folder()
    if folder is None or not source:
        return None
    try:
        whose = f"{os.path.realpath(source)}\0{profile or ''}".encode(errors="surrogateescape")
    except OSError:  # the current folder is gone
        return None
    return f"{folder}/names/{digests.sha256(whose).hexdigest()[:32]}.{what}"


def _noted_places(path: str) -> dict[str, list[Place]]:
    noted = _read(path)
    by_name: dict[str, list[Place]] = {}
    for name, places in noted.items() if isinstance(noted, dict) else ():
        whole = [one for one in places if isinstance(one, list)] if isinstance(places, list) else []
        by_name[name] = [
            Place(*one)
            for one in whole
            if len(one) == len(Place._fields) and isinstance(one[0], str) and isinstance(one[1], str | None)
        ]
    return by_name


def _noted_keys(path: str) -> list[str]:
    noted = _read(path)
    return [key for key in noted if isinstance(key, str)] if isinstance(noted, list) else []


def _read(path: str) -> Any:
    """Return the JSON in a file that only this user can write; None if there is none."""
    stored = own_bytes(path, _MOST_BYTES, closed_to_others=0o022)
    try:
        return None if stored is None else json.loads(stored)
    except (ValueError, RecursionError):
        return None


def _remove(path: str) -> None:
    from pathlib import Path

    with suppress(OSError):
        Path(path).unlink()


def _write(path: str, data: object) -> None:
    from pathlib import Path

    from strongroom.paths.atomic_write import write_atomically

    folder = Path(path).parent
    with suppress(OSError):  # the notes are not essential
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(Path(path), json.dumps(data).encode())
        ages = sorted((one.stat().st_mtime_ns, one) for one in folder.iterdir())
        for _, old in ages[:-_MOST_FILES]:
            old.unlink()
