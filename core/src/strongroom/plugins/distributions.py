"""What the metadata of installed distributions say; those that cannot be read are skipped and reported."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from typing import Any

from strongroom.errors import ConfigurationError
from strongroom.runtime.frozen import NamedTuple

__all__ = ["EntryPoint", "Unreadable", "entry_points", "normalized", "start_pydantic"]


class EntryPoint(NamedTuple):
    """One entry point, with the distribution that it is of."""

    name: str
    module: str
    distribution: str
    version: str

    @property
    def owner(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}"


class Unreadable(NamedTuple):
    """A folder whose metadata cannot be read, and why."""

    folder: str
    why: str


_NAMELESS = "METADATA cannot be read, or has no name or no version"


def normalized(distribution: str) -> str:
    """Return the name of a distribution as packaging compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def entry_points(group: str) -> tuple[list[EntryPoint], list[Unreadable]]:
    """Return the entry points of `group`, and the distributions that were passed over."""
    unreadable: dict[Unreadable, None] = {}
    try:
        points = _points_of(group)
    except Exception:  # noqa: BLE001  # broken files may cause any error; they are looked for one by one
        points = None
    if points is None:
        points = _points_one_by_one(group, unreadable)
    listed: dict[EntryPoint, None] = {}
    known: dict[int, tuple[str, str] | None] = {}
    for point, owner in points:
        if id(owner) not in known:
            known[id(owner)] = _name_and_version(owner)
        name_and_version = known[id(owner)]
        if name_and_version is None:
            unreadable[Unreadable(_folder(owner), _NAMELESS)] = None
        else:
            listed[EntryPoint(point.name, point.value, *name_and_version)] = None
    return list(listed), list(unreadable)


def _points_of(group: str) -> list[tuple[Any, Any]] | None:
    """Return the entry points of `group`, each with its distribution; None where two have one name.

    The library parses those of all distributions, which takes four times as long as to read them: of 260, a
    twentieth of a first load.
    """
    from importlib.metadata import distributions

    owners = list(distributions())
    names = Counter(map(_name_of_folder, owners))
    ours = [one for one in owners if f"[{group}]" in _text_of_points(one)]
    if any(names[_name_of_folder(one)] > 1 for one in ours):
        return None
    return [(point, one) for one in ours for point in one.entry_points if point.group == group]


def _points_one_by_one(group: str, unreadable: dict[Unreadable, None]) -> list[tuple[Any, Any]]:
    """Return the entry points of `group` that can be read, and add what cannot be read to `unreadable`.

    Of two distributions of one name the first on the path counts, as it is the one that is imported. What has
    no name does not count, such as an empty folder that an interrupted installation has left.
    """
    from importlib.metadata import distributions

    points: list[tuple[Any, Any]] = []
    seen: set[str] = set()
    for owner in distributions():
        name_and_version = _name_and_version(owner)
        if name_and_version is None:
            unreadable[Unreadable(_folder(owner), _NAMELESS)] = None
            continue
        name = normalized(name_and_version[0])
        if name in seen:
            continue
        try:
            points += [(one, owner) for one in owner.entry_points if one.group == group]
            seen.add(name)
        except Exception as error:  # noqa: BLE001  # broken files may cause any error
            unreadable[Unreadable(_folder(owner), type(error).__name__)] = None
    return points


def _text_of_points(owner: Any) -> str:
    """Return the entry points of `owner` as they are written.

    Those in a plain folder are read here: the library takes twice as long, and most folders have none.
    """
    folder = getattr(owner, "_path", None)
    if type(owner).__module__ == "importlib.metadata" and isinstance(folder, os.PathLike):
        try:
            with open(f"{folder}/entry_points.txt", "rb", buffering=0) as file:  # noqa: PTH123  # a path takes longer
                return file.read().decode()
        except FileNotFoundError:
            return ""
        except OSError:
            pass  # the library knows which of them mean that there are none
    return owner.read_text("entry_points.txt") or ""


def _name_of_folder(owner: Any) -> str:
    """Return the name that the folder of the metadata has; of those that are in none, the same for all."""
    folder = getattr(owner, "_path", None)
    return "" if folder is None else normalized(folder.stem.partition("-")[0])


def _name_and_version(owner: Any) -> tuple[str, str] | None:
    """Return what the metadata of `owner` say, or None where one of both is missing or cannot be read."""
    try:
        # Not `owner.metadata`, which parses them as a mail: that takes as long as the search. The first of
        # several lines of one name counts.
        header = (owner.read_text("METADATA") or "").partition("\n\n")[0]
        members = dict(line.split(": ", 1) for line in reversed(header.splitlines()) if ": " in line)
        if not {"Name", "Version"} <= members.keys():
            members = owner.metadata
        name, version = members["Name"].strip(), members["Version"].strip()
    except Exception:  # noqa: BLE001  # broken files may cause any error, and Python 3.11 has None for what is missing
        return None
    return (name, version) if name and version else None


def _folder(owner: Any) -> str:
    # No public name of a distribution has the folder of the metadata itself.
    return str(getattr(owner, "_path", None) or owner.locate_file(""))


@functools.cache
def start_pydantic() -> None:
    """Make a first model, for which pydantic looks for plugins of its own, before one of ours is made.

    That search ends at the first distribution whose metadata are broken, even an unrelated one; from its
    second model on pydantic goes without plugins.

    Raises:
        ConfigurationError: Even a second attempt failed; the message names the broken distributions.
    """
    from pydantic import create_model

    failure = ""
    for _ in range(2):
        try:
            create_model("First")
        except Exception as error:  # noqa: BLE001  # broken files may cause any error
            failure = type(error).__name__
        else:
            return
    unreadable: dict[Unreadable, None] = {}
    _points_one_by_one("pydantic", unreadable)
    broken = ", ".join(f"{folder} ({why})" for folder, why in unreadable)
    raise ConfigurationError(
        f"pydantic looked for its plugins and failed with {failure}; broken: {broken or 'not known which'}",
        hint="reinstall or remove what is broken, or set PYDANTIC_DISABLE_PLUGINS=__all__",
    )
