"""The files that a spec names, in any profile; replacing a key file replaces the key of all that use it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Final, NamedTuple

from strongroom.paths.user_home import expanded
from strongroom.spec.document import Node, Path, show_path
from strongroom.spec.found import FoundSpec
from strongroom.spec.problems import references_in
from strongroom.spec.references import Reference, ReferenceSources, UnresolvedError, has_reference, resolve
from strongroom.spec.source import Source, read_source

__all__ = [
    "KeyUse",
    "LiteralKey",
    "OwnStore",
    "key_uses",
    "literal_keys",
    "named_files",
    "own_key_file",
    "own_store",
]

_KEY_OPTIONS: Final = frozenset({"encryption_key", "key", "older_keys"})
_OF_NO_FILE: Final = frozenset({"secrets", "default", "version"})
"""Parts of a spec whose texts are not paths."""


class KeyUse(NamedTuple):
    """One place of a spec that uses a key file.

    Attributes:
        profile: The profile under which it does.
        path: The option, such as `("pipelines", "app", "provider", "key_file")`.
        place: The place in words, with profile, file, line and column.
        of: What the key is for: equal if two places are about the same thing, such as one store.
        by_name: Whether the option names the file; otherwise a reference reads it.
        component: The type of the component whose option it is.
        logs: The logs of an audit hook.
    """

    profile: str | None
    path: Path
    place: str
    of: tuple[str, ...]
    by_name: bool
    component: str = ""
    logs: tuple[str, ...] = ()

    @property
    def pipeline(self) -> str | None:
        """The pipeline whose option it is; None for a hook of all of them, and the like."""
        return str(self.path[1]) if self.path[0] == "pipelines" else None


def key_uses(spec: str | FoundSpec, key_file: FilePath) -> list[KeyUse]:
    """Return the places of a spec file that use `key_file`, without looking up anything else."""
    source = read_source(spec)
    root = source.document.root
    if root is None:
        return []
    wanted = os.path.realpath(key_file)
    profiles = root.mapping.get("profiles")
    uses: dict[tuple[object, ...], KeyUse] = {}
    for profile in (None, *(profiles.mapping if profiles is not None else ())):
        merged = root if profile is None or profiles is None else root.merged(profiles.mapping[profile])
        for use in _uses(source, merged, profile, wanted):
            uses.setdefault((use.of, use.path[-1]), use)
    return list(uses.values())


def named_files(spec: str | FoundSpec) -> Iterator[tuple[str, FilePath]]:
    """Yield the paths that a spec file names or reads, in any profile, each with the option.

    Only a plugin knows which of its options are paths: here, each text counts that may be one.
    """
    source = read_source(spec)
    root = source.document.root
    for path, scalar in root.scalars() if root is not None else ():
        part = path[2:3] if path[0] == "profiles" else path[:1]
        if _OF_NO_FILE.isdisjoint(part):
            for named in _paths(source, path, scalar):
                yield show_path(path), FilePath(named)


def _paths(source: Source, path: Path, scalar: Node) -> Iterator[str]:
    read = [named for named, by_name in _files(source, path, scalar) if not by_name]
    yield from read  # what these files contain is not a path
    text = scalar.value if isinstance(scalar.value, str) else ""
    if not read and ("path" in str(path[-1]) or path[-1] == "key_file" or {".", "/", "$"} & set(text)):
        yield from _named(source, scalar)


class LiteralKey(NamedTuple):
    """A key that is written into the spec itself.

    Attributes:
        place: Where, in words: file, line, column and option.
        component: The type of the component whose option it is.
        option: The name of the option.
        text: The key.
    """

    place: str
    component: str
    option: str
    text: str

    def __repr__(self) -> str:
        return f"<LiteralKey {self.place}>"


def literal_keys(spec: str | FoundSpec, profile: str | None) -> Iterator[LiteralKey]:
    """Yield the options for keys of pipelines and hooks that hold a text and no reference."""
    source, root = _merged(spec, profile)
    for path, scalar in root.scalars() if root is not None else ():
        names = [one for one in path[-2:] if one in _KEY_OPTIONS]  # `older_keys` is a list
        if path[0] not in {"pipelines", "hooks"} or not names or not isinstance(scalar.value, str):
            continue
        kind = root.at(path[: path.index(names[0])]).mapping.get("type") if root is not None else None
        if kind is not None and not has_reference(scalar.value):
            place = f"{source.position(scalar.line, scalar.column)}: {show_path(path)}"
            yield LiteralKey(place, str(kind.value), str(names[0]), scalar.value)


def own_key_file(spec: str | FoundSpec, profile: str | None, pipeline: str) -> FilePath | None:
    """Return the file that holds a pipeline's key: of its store, else of its outermost encryption.

    Those of a fallback are those of its first member.
    """
    source, root = _merged(spec, profile)
    if root is None:
        return None
    node = root.at(("pipelines", _with_store(root, pipeline)))
    for path, scalar in sorted(node.scalars(), key=lambda one: one[0][0] != "provider"):
        if path[-1] in {"key_file", "key", "encryption_key"} and path[0] in {"provider", "middleware"}:
            for named, _ in _files(source, path, scalar):
                return FilePath(named)
    return None


class OwnStore(NamedTuple):
    """A store whose key is in a key file.

    Attributes:
        of: What identifies it, as in `KeyUse`.
        key_file: The file.
    """

    of: tuple[str, ...]
    key_file: FilePath


def own_store(spec: str | FoundSpec, profile: str | None, pipeline: str) -> OwnStore | None:
    """Return the store of a pipeline if its key is in a key file that a rekey replaces, else None.

    That of a fallback is that of its first member.
    """
    source, root = _merged(spec, profile)
    if root is None:
        return None
    path: Path = ("pipelines", _with_store(root, pipeline), "provider", "key_file")
    key_file = root.at(path[:3]).mapping.get("key_file")
    named = [] if key_file is None else list(_named(source, key_file))
    return OwnStore(_of(source, root, path), FilePath(named[0])) if named else None


def _with_store(root: Node, pipeline: str) -> str:
    """Return the pipeline that has the store: of a fallback its first member, which gets all writes."""
    node = root.at(("pipelines", pipeline))
    while "fallback" in node.mapping:  # the spec was loaded, so there is no circle
        pipeline = str(node.at(("fallback", "pipelines", 0)).value)
        node = root.at(("pipelines", pipeline))
    return pipeline


def _merged(spec: str | FoundSpec, profile: str | None) -> tuple[Source, Node | None]:
    source = read_source(spec)
    root = source.document.root
    profiles = root.mapping.get("profiles") if root is not None else None
    if root is not None and profile is not None and profiles is not None and profile in profiles.mapping:
        root = root.merged(profiles.mapping[profile])
    return source, root


def _uses(source: Source, root: Node, profile: str | None, wanted: str) -> Iterator[KeyUse]:
    for path, scalar in root.scalars():
        if path[0] == "profiles":
            continue
        for named, by_name in _files(source, path, scalar):
            if os.path.realpath(named) == wanted:
                under = "" if profile is None else f"profile {profile}: "
                position = source.position(scalar.line, scalar.column)
                place = f"{under}{show_path(path)} ({position})"
                node = root.at(path[:2] if path[0] == "hooks" else path[: 4 if path[2] != "provider" else 3])
                type_node, log_node = node.mapping.get("type"), node.mapping.get("path")
                logs = [] if log_node is None else [one for _, one in log_node.scalars()]
                yield KeyUse(
                    profile,
                    path,
                    place,
                    _of(source, root, path),
                    by_name,
                    str(type_node.value) if type_node is not None else "",
                    tuple(named for one in logs for named in _named(source, one)),
                )


def _files(source: Source, path: Path, scalar: Node) -> Iterator[tuple[str, bool]]:
    """Yield the files that a scalar names or reads, and whether it names them."""
    for reference in references_in(scalar.value):
        if reference.kind == "file":
            yield str(source.folder / expanded(reference.name)), False
    if path[-1] == "key_file":
        for named in _named(source, scalar):
            yield named, True


def _named(source: Source, scalar: Node) -> Iterator[str]:
    """Yield the path that a scalar names, if its references can be resolved."""
    if isinstance(scalar.value, str):
        try:
            named = resolve(scalar.value, ReferenceSources(os.environ, source.folder, _unknown))
        except (UnresolvedError, ValueError):
            return  # the variable may be set for users of that profile
        yield os.path.normpath(source.folder / expanded(named))


def _unknown(reference: Reference) -> str:
    raise UnresolvedError(reference.pipeline)


def _of(source: Source, root: Node, path: Path) -> tuple[str, ...]:
    if path[0] == "pipelines" and path[2:3] == ("provider",):
        node = root.at(path[:3])
        store = node.mapping.get("file_path")
        for named in _named(source, store) if store is not None else ():
            return "store", named
        # What identifies one on a server is all its options except the keys.
        keys = {*_KEY_OPTIONS, "key_file"}
        options = sorted((name, one.data()) for name, one in node.mapping.items() if name not in keys)
        return "store", _hash(repr(options))
    # The same text may be about something else under another profile: the cipher of another store.
    return show_path(path), _hash(repr(root.at(path[:2]).data()) if path[0] == "pipelines" else "")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
