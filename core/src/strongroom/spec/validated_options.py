"""The validated options of components, so that they are not validated again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from strongroom.spec import references
from strongroom.spec.document import Node
from strongroom.spec.document import Path as NodePath

__all__ = ["ValidatedOptions"]

_PLAIN_TYPES = frozenset({type(None), bool, int, float, str, bytes, type(Path())})


class ValidatedOptions:
    """Validated options, so that a start validates them once as written and once filled in.

    Options without references stay known. Those with references are kept only from one preparation to the
    next, since they may hold secrets, and are used only if the references give the same texts again. Nodes
    are known by their `id`, so they must outlive this object.
    """

    def __init__(self) -> None:
        self._written: dict[tuple[type[BaseModel], int], BaseModel] = {}
        self._filled: dict[tuple[type[BaseModel], int], tuple[Mapping[NodePath, str], BaseModel]] = {}
        self._numbers: dict[int, frozenset[NodePath]] = {}

    def keep_numbers(self, node: Node, paths: frozenset[NodePath]) -> None:
        """Keep which references at `node` are for options that take a number or boolean, and no text."""
        self._numbers[id(node)] = paths

    def numbers(self, node: Node) -> frozenset[NodePath]:
        """Return the paths that `keep_numbers` got."""
        return self._numbers.get(id(node), frozenset())

    def keep_written(self, config: type[BaseModel], node: Node, model: BaseModel) -> None:
        """Keep the validated options at `node`, if they have no references."""
        if type(model) is config and _is_plain(model) and not _has_references(node):
            self._written[config, id(node)] = model

    def keep_filled(
        self, config: type[BaseModel], node: Node, brought_in: Mapping[NodePath, str], model: BaseModel
    ) -> None:
        """Keep the validated options at `node` with these texts for their references."""
        if type(model) is config and _is_plain(model):
            self._filled[config, id(node)] = (brought_in, model.model_copy(deep=True))

    def take(
        self, config: type[BaseModel], node: Node, brought_in: Mapping[NodePath, str]
    ) -> BaseModel | None:
        """Return an own copy of the validated options at `node`; None if they are not known."""
        if not brought_in:
            model = self._written.get((config, id(node)))
            return None if model is None else model.model_copy(deep=True)
        texts, model = self._filled.pop((config, id(node)), ({}, None))
        return model if texts == brought_in else None


def _has_references(node: Node) -> bool:
    return any(references.has_reference(scalar.value) for _, scalar in node.scalars())


def _is_plain(value: object) -> bool:
    """Return whether a deep copy of `value` behaves like it."""
    if isinstance(value, BaseModel):
        return not (value.__pydantic_private__ or value.__pydantic_extra__) and all(
            _is_plain(getattr(value, name)) for name in type(value).model_fields
        )
    if type(value) in {list, tuple, set, frozenset}:
        return all(map(_is_plain, value))  # type: ignore[call-overload]  # a collection, by the line above
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return type(value) in _PLAIN_TYPES
