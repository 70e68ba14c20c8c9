"""What the options of components came to when they were validated, so that it is done once and not again."""

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
    """What options came to, so that a start validates them once as written and once filled in.

    Options without references stay known. Those with references are kept from one preparation to the next
    alone, for they may hold secrets, and serve only where the references bring in the same again.
    Nodes are known by their `id`, and must live on.
    """

    def __init__(self) -> None:
        self._written: dict[tuple[type[BaseModel], int], BaseModel] = {}
        self._filled: dict[tuple[type[BaseModel], int], tuple[Mapping[NodePath, str], BaseModel]] = {}
        self._numbers: dict[int, frozenset[NodePath]] = {}

    def keep_numbers(self, node: Node, paths: frozenset[NodePath]) -> None:
        """Keep which references at `node` are where a number or boolean is expected, and never a text."""
        self._numbers[id(node)] = paths

    def numbers(self, node: Node) -> frozenset[NodePath]:
        """Return what `keep_numbers` was given."""
        return self._numbers.get(id(node), frozenset())

    def keep_written(self, config: type[BaseModel], node: Node, model: BaseModel) -> None:
        """Keep what the options at `node` came to, where they have no references."""
        if type(model) is config and _is_plain(model) and not _has_references(node):
            self._written[config, id(node)] = model

    def keep_filled(
        self, config: type[BaseModel], node: Node, brought_in: Mapping[NodePath, str], model: BaseModel
    ) -> None:
        """Keep the result of the options at `node` with these texts instead of their references."""
        if type(model) is config and _is_plain(model):
            self._filled[config, id(node)] = (brought_in, model.model_copy(deep=True))

    def take(
        self, config: type[BaseModel], node: Node, brought_in: Mapping[NodePath, str]
    ) -> BaseModel | None:
        """Return what the options at `node` came to before, which nobody else has then; None if unknown."""
        if not brought_in:
            model = self._written.get((config, id(node)))
            return None if model is None else model.model_copy(deep=True)
        texts, model = self._filled.pop((config, id(node)), ({}, None))
        return model if texts == brought_in else None


def _has_references(node: Node) -> bool:
    return any(references.has_reference(scalar.value) for _, scalar in node.scalars())


def _is_plain(value: object) -> bool:
    """Return whether a deep copy of `value` does all that the value itself does."""
    if isinstance(value, BaseModel):
        return not (value.__pydantic_private__ or value.__pydantic_extra__) and all(
            _is_plain(getattr(value, name)) for name in type(value).model_fields
        )
    if type(value) in {list, tuple, set, frozenset}:
        return all(map(_is_plain, value))  # type: ignore[call-overload]  # a collection, as the line above has it
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return type(value) in _PLAIN_TYPES
