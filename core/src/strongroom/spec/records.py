"""The plan of a spec, kept for the next process, which then loads neither YAML nor pydantic.

A record holds the plan with its references unresolved. Of the spec's texts it holds only their places, so
that it contains no value, token or key. It is valid only for the same bytes of the spec, profile, program,
plugins and allow-list, and only under the seal of this user. If it is not valid, the spec is loaded in full,
which also reports what is wrong.
"""

from __future__ import annotations

import os
import stat
import sys

from strongroom._version import __version__
from strongroom.paths.ownership import distrust, own_bytes
from strongroom.plugins.installed import installed
from strongroom.runtime import digests
from strongroom.spec import trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from strongroom.spec.found import FoundSpec


__all__ = [
    "MAX_RECORD_BYTES",
    "Recalled",
    "SpecBytes",
    "are_kept",
    "place_of",
    "read_spec",
    "recall",
    "seal",
    "text_of",
]

_FORMAT: Final = "4"
_MAX_SPEC_BYTES: Final = 1 << 20
MAX_RECORD_BYTES: Final = 1 << 23
_SEAL_DIGITS: Final = 64
_KEY_BYTES: Final = 32
_OWNER_DIGITS: Final = 16


class SpecBytes:
    """The bytes of a spec file that may be used, and where they were read.

    Attributes:
        path: As it was named or found.
        found: The spec if it was found; None if it was named.
        data: The bytes.
        status: The status of the file that they were read from.
        folder: The absolute path of the folder in which it is named.
    """

    __slots__ = ("data", "folder", "found", "path", "status")

    def __init__(self, path: str, found: FoundSpec | None, data: bytes, status: os.stat_result) -> None:
        self.path, self.found, self.data, self.status = path, found, data, status
        self.folder = os.path.dirname(os.path.join(os.getcwd(), path))

    def digest(self) -> str:
        """Return the SHA-256 of the bytes in hexadecimal."""
        return digests.sha256(self.data).hexdigest()


class Recalled:
    """A valid record, as plain data, from which `strongroom.spec.recalling` makes the plan.

    Attributes:
        spec: The spec that it is of.
        data: The recorded data.
    """

    __slots__ = ("data", "profile", "spec", "text")

    def __init__(self, spec: SpecBytes, profile: str | None, data: dict[str, Any]) -> None:
        self.spec, self.profile, self.data = spec, profile, data
        self.text = text_of(spec.data)

    def closed(self) -> bool:
        """Return whether the spec was found and is used because it is closed.

        Raises:
            UntrustedSpecError: It was found, and must not be used.
        """
        spec = self.spec
        return spec.found is not None and trust.require(spec.path, spec.data, spec.status, self._openings())

    def _openings(self) -> Iterator[str]:
        if self.data["open"]:
            yield "it is open"  # not shown: a full load says how
        if not self.data["inside"]:
            return
        from strongroom.spec.inside import why_outside

        folder = folder_of(self.spec.path)
        for path in self.data["inside"]:
            if (why := why_outside(path, folder)) is not None:
                yield why

    def slice(self, pieces: list[list[int] | str]) -> str:
        """Return the joined text of these places of the spec, and of characters that were escaped there."""
        return "".join([
            piece if isinstance(piece, str) else self.text[piece[0] : piece[0] + piece[1]] for piece in pieces
        ])  # fmt: skip


def recall(named: str | os.PathLike[str] | FoundSpec, profile: str | None) -> Recalled | None:
    """Return the valid record of a spec under a profile, if there is one."""
    spec = read_spec(named)
    place = place_of(spec, profile) if spec is not None else None
    key = seal_key(make=False) if place is not None else None
    if spec is None or place is None or key is None:
        return None
    found = own_bytes(place, MAX_RECORD_BYTES, closed_to_others=0o077)
    if found is None or len(found) < _SEAL_DIGITS:
        return None
    given, body = found[:_SEAL_DIGITS], found[_SEAL_DIGITS:]
    if given != seal(key, place, body):
        return None
    import json

    try:
        data = json.loads(body)
        if any(state_of(path) != state for path, state in data["modules"]):
            return None
        recalled = Recalled(spec, profile, data)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # a record of another version
    return recalled


def folder_of(path: str) -> str:
    """Return the folder that paths in the spec at `path` are relative to; see `strongroom.spec.source`."""
    return os.path.dirname(os.path.realpath(path) if os.path.islink(path) else os.path.abspath(path))


def read_spec(spec: str | os.PathLike[str] | FoundSpec) -> SpecBytes | None:
    """Return the bytes of a spec that no other user owns or may write; None if a full load must report it."""
    found_spec = None if isinstance(spec, str | os.PathLike) else spec
    path = spec.path if found_spec is not None else os.fspath(spec)  # type: ignore[union-attr,arg-type]  # told apart above
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        regular = stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_SPEC_BYTES
        if not regular or not (trust.all_asked() or distrust(path, status) is None):
            return None
        data = os.read(descriptor, _MAX_SPEC_BYTES + 1)
        text_of(data)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return SpecBytes(path, found_spec, data, status)


def text_of(data: bytes) -> str:
    """Return the text of a spec; `utf-8-sig` does the same, and is a module of its own."""
    return data.removeprefix(b"\xef\xbb\xbf").decode()


def place_of(spec: SpecBytes, profile: str | None) -> str | None:
    """Return the path of the record: a hash of the spec's path and the program, then one of all that counts.

    So two environments that use the same spec in turns keep a record each.
    """
    folder = _folder()
    if folder is None:
        return None
    try:
        where = os.path.abspath(spec.path)
    except OSError:  # the current folder is gone
        return None
    owner = _joined([
        where,
        "" if profile is None else f"={profile}",
        sys.version,
        sys.prefix,
        os.environ.get("HOME", ""),
        repr(os.environ.get("STRONGROOM_PLUGINS")),
        *map(str, sys.path[1:]),
    ])  # fmt: skip
    version = _joined([_FORMAT, __version__, spec.folder, folder_of(spec.path), *installed()])
    whole = b"\0".join([owner, spec.data, version])
    return f"{folder}{digests.sha256(owner).hexdigest()[:_OWNER_DIGITS]}-{digests.sha256(whole).hexdigest()}"


def _joined(texts: list[str]) -> bytes:
    return "\0".join(texts).encode(errors="surrogateescape")


def owner_of(place: str) -> str:
    """Return what the names of all records of one spec and profile, made by one program, begin with."""
    return os.path.basename(place)[: _OWNER_DIGITS + 1]


def state_of(path: str) -> list[int] | None:
    """Return numbers that change if the file of a module changes."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def seal(key: bytes, place: str, body: bytes) -> bytes:
    """Return the seal of a record at its place."""
    name = os.path.basename(place).encode()
    return digests.blake2b(name + b"\0" + body, key=key, digest_size=_SEAL_DIGITS // 2).hexdigest().encode()


def seal_key(*, make: bool) -> bytes | None:
    """Return the key that seals this user's records; it is kept in the same folder as what the user trusts.

    Args:
        make: Make it if there is none.
    """
    folder = trust.state_folder()
    if folder is None:
        return None
    path = f"{folder}/records.key"
    stored = own_bytes(path, _KEY_BYTES + 1, closed_to_others=0o077)
    if stored is None and make and not os.path.lexists(path):
        from contextlib import suppress  # once a user

        from strongroom.paths.new_file import NewFile

        os.makedirs(folder, mode=0o700, exist_ok=True)
        with NewFile(folder) as new:
            new.write(os.urandom(_KEY_BYTES))
            new.sync()
            with suppress(FileExistsError):  # another process was faster
                new.link(path)
        stored = own_bytes(path, _KEY_BYTES + 1, closed_to_others=0o077)
    return stored if stored is not None and len(stored) == _KEY_BYTES else None


def are_kept() -> bool:
    """Return whether records can be kept here, as far as the rights of the folders tell."""
    has_key = seal_key(make=False) is not None
    return all(map(_may_be_written, [_folder()] if has_key else [_folder(), trust.state_folder()]))


def _may_be_written(folder: str | None) -> bool:
    """Return whether files can be made in `folder`, or in the folder above that it has to be made in."""
    if folder is None:
        return False
    while folder and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


def _folder() -> str | None:
    """Return where records are kept, never in the current folder; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base and os.environ.get("HOME") != "":  # an empty one would make it the root folder
        home = os.path.expanduser("~")
        # A home that does not exist, as for some system users, is not made.
        base = f"{home}/.cache" if os.path.isdir(home) else ""
    return f"{base}/strongroom/specs/" if os.path.isabs(base) else None
