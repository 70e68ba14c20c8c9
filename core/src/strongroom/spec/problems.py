"""Problems of a spec, noted with their position, and functions that check its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from strongroom.errors import SpecError
from strongroom.spec import references
from strongroom.spec.document import Node, Problem, show_path
from strongroom.spec.document import Path as NodePath
from strongroom.spec.references import BadReferenceError, Reference
from strongroom.spec.source import Source

__all__ = ["Problems", "entries", "members", "references_in", "spec_error"]


class Problems:
    """The problems of one source, beginning with those of its syntax."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems = list(source.document.problems)

    def raise_all(self) -> NoReturn:
        """Raise the error that lists all of them."""
        raise spec_error(self.source.name, self.problems)

    def add(self, node: Node, path: NodePath, message: str, *, key: str | None = None) -> None:
        """Note what is wrong at `node`, or at its member `key`; `path` is shown as its place."""
        line, column = node.key_position(key) if key is not None else (node.line, node.column)
        self.problems.append(Problem(line, column, show_path(path), message))


def spec_error(source: str, problems: Iterable[Problem]) -> SpecError:
    """Return the error that lists `problems`, each once, in the order of the source."""
    lines = tuple(problem.format(source) for problem in sorted(set(problems)))
    return SpecError("\n".join(lines), problems=lines)


def members(root: Node, name: str) -> list[tuple[str, Node]]:
    """Return names and nodes of the mapping `name` of `root`; nothing if it is not a mapping."""
    member = root.mapping.get(name)
    return list(member.mapping.items()) if member is not None else []


def entries(node: Node, name: str) -> list[Node]:
    """Return the nodes of the list `name` of `node`; nothing if it is not a list."""
    member = node.mapping.get(name)
    return member.items if member is not None else []


def references_in(value: object) -> list[Reference]:
    """Return the references in a scalar; none if one is malformed, which is reported elsewhere."""
    if not references.has_reference(value):
        return []
    try:
        return references.references(str(value))
    except BadReferenceError:
        return []
