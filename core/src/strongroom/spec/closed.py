"""What a spec does beyond a closed one, found from its text and the files beside it, before it is used.

A closed spec has only components that stay on this machine and in its folder, reads no variable, and starts
no program. Mistakes in a spec are not looked for here: such a spec is refused before it is used.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from strongroom.errors import ConfigurationError
from strongroom.paths.user_home import expanded
from strongroom.spec import references
from strongroom.spec.document import show_path
from strongroom.spec.inside import why_outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from strongroom.spec.document import Node, Path

__all__ = [
    "CLOSED_MEMBERS",
    "CLOSED_TYPES",
    "OPEN_MEMBERS",
    "OPEN_ROTATION",
    "PARTS",
    "PATHS",
    "inside_of",
    "openings",
]

CLOSED_TYPES: dict[str, frozenset[str]] = {
    "provider": frozenset({"memory", "file", "directory"}),
    "middleware": frozenset(
        {"caching", "encryption", "prefix", "read-only", "retry", "tenant", "validation"}
    ),
    "hook": frozenset({"audit"}),
    "encryption": frozenset({"aes-gcm", "chacha20", "fernet"}),
    "cache": frozenset(),
}
"""Kind of component -> the types that a closed spec may have."""
PARTS = {"l2": "cache", "encryption": "encryption", "cipher": "encryption"}
"""Options of these that hold a component of their own, with its kind."""
PATHS = frozenset({"file_path", "key_file", "path"})
"""Options of these that are paths."""
CLOSED_MEMBERS = frozenset(
    {
        "version",
        "pipelines",
        "default",
        "hooks",
        "routes",
        "secrets",
        "placeholders",
        "rotation_lock",
        "profiles",
    }
)
"""Members of a spec that are examined here; with any other member a spec is not closed."""
OPEN_ROTATION = {"command": "runs a program", "verify": "runs a program", "rotator": "has a rotator"}
"""Members of `rotate:` that a closed spec does not have, and what a spec does with them."""
OPEN_MEMBERS = {"serve": "opens a server"}
"""Members that a closed spec does not have, and what a spec does with them."""


def openings(root: Node | None, source: str, folder: str) -> Iterator[str]:
    """Yield what the spec does beyond a closed one, each with its place, such as "it reads a variable".

    Args:
        root: Its nodes; None if it cannot be read.
        source: Its name in places.
        folder: What paths in it are relative to.
    """
    if root is None:
        return
    for path, node, what in _openings(root, folder):
        place = f" at {source}:{node.line}" if node.line else ""
        yield f"it {what} ({show_path(path)}{place})"


def inside_of(root: Node, folder: str) -> set[str]:
    """Return the absolute paths that the spec uses: it stays closed as long as they stay in its folder."""
    paths: set[str] = set()
    for whole in (root, *(node for _, node in _members(root, "profiles"))):
        for _, _, node in _components(whole):
            paths.update(_paths(node))
    for _, scalar in root.scalars():
        with suppress(references.BadReferenceError):
            if references.has_reference(scalar.value):
                named = references.references(str(scalar.value))
                paths.update(one.name for one in named if one.kind == "file")
    whole_paths: set[str] = set()
    for path in paths:
        with suppress(ConfigurationError):
            whole_paths.add(os.path.normpath(os.path.join(folder, expanded(path))))  # noqa: PTH118  # as below
    return whole_paths


def _paths(node: Node) -> Iterator[str]:
    for option, child in node.mapping.items():
        if option in PARTS:
            yield from _paths(child)
        if option in PATHS:
            yield from (str(scalar.value) for _, scalar in child.scalars() if scalar.value is not None)


def _openings(root: Node, folder: str) -> Iterator[tuple[Path, Node, str]]:
    wholes: list[tuple[Path, Node]] = [((), root)]
    wholes += [(("profiles", name), node) for name, node in _members(root, "profiles")]
    for above, whole in wholes:
        for name, effect in OPEN_MEMBERS.items():
            if name in whole.mapping:
                yield (*above, name), whole.mapping[name], effect
        for kind, path, node in _components(whole):
            yield from _of_component(kind, (*above, *path), node, folder)
        for name, secret in _members(whole, "secrets"):
            for member, child in _members(secret, "rotate"):
                if member in OPEN_ROTATION:
                    yield (*above, "secrets", name, "rotate", member), child, OPEN_ROTATION[member]
    for path, scalar in root.scalars():
        for what in _references(scalar.value, folder):
            yield path, scalar, what


def _components(whole: Node) -> Iterator[tuple[str, Path, Node]]:
    """Yield each component of a spec or profile, with its kind."""
    for name, node in _members(whole, "pipelines"):
        for member, kind in (("provider", "provider"), ("middleware", "middleware"), ("hooks", "hook")):
            child = node.mapping.get(member)
            if child is not None and child.mapping:
                yield kind, ("pipelines", name, member), child
            for index, item in enumerate(child.items if child is not None else []):
                yield kind, ("pipelines", name, member, index), item
    hooks = whole.mapping.get("hooks")
    for index, item in enumerate(hooks.items if hooks is not None else []):
        yield "hook", ("hooks", index), item
    if "rotation_lock" in whole.mapping:
        yield "cache", ("rotation_lock",), whole.mapping["rotation_lock"]


def _members(node: Node, name: str) -> Iterable[tuple[str, Node]]:
    child = node.mapping.get(name)
    return child.mapping.items() if child is not None else ()


def _of_component(kind: str, path: Path, node: Node, folder: str) -> Iterator[tuple[Path, Node, str]]:
    type_node = node.mapping.get("type")
    name = type_node.value if type_node is not None else None
    # In a profile the type may be left out: it is that of the component that the profile changes.
    if type_node is not None and isinstance(name, str) and name not in CLOSED_TYPES[kind]:
        yield path, type_node, f"uses the {kind} {name[:40]!a}"
    for option, child in node.mapping.items():
        if option in PARTS and child.mapping:
            yield from _of_component(PARTS[option], (*path, option), child, folder)
        if option in PATHS:
            for below, scalar in child.scalars((*path, option)):
                if scalar.value is not None and (what := _outside(str(scalar.value), folder)) is not None:
                    yield below, scalar, what


def _references(value: object, folder: str) -> Iterator[str]:
    if not references.has_reference(value):
        return
    try:
        found = references.references(str(value))
    except references.BadReferenceError:
        return  # a mistake, which is reported where the spec is checked
    for one in found:
        if one.kind == "env":
            yield f"reads the variable {one.name}"
        elif one.kind == "file" and (what := _outside(one.name, folder)) is not None:
            yield what


def _outside(path: str, folder: str) -> str | None:
    if "${" in path:
        return "has a path that it puts together"
    try:
        where = os.path.normpath(os.path.join(folder, expanded(path)))  # noqa: PTH118  # as options are placed
    except ConfigurationError:
        return "names a file in a home folder"
    return why_outside(where, folder)
