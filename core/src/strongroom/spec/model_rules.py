"""The rules of a component's options, as plain data that needs no model.

`strongroom.spec.recording` writes them down, and `strongroom.spec.rules` applies them. A model that does more
than its plain annotations say is not described.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import annotated_types
from pydantic import BaseModel

from strongroom.spec import references
from strongroom.spec.document import Node

__all__ = ["UnwritableError", "rule_inside", "rule_of", "section_model", "values_without_references"]

_SAFE_PATTERN: Final = r"[A-Za-z0-9_^$|?*+.()\[\]/:@=, {}-]*"
_SETTINGS: Final = frozenset({"extra", "hide_input_in_errors", "strict", "frozen", "title", "defer_build"})
"""Settings of a model that do not change texts."""
_KINDS: Final = {
    str: "text",
    bool: "boolean",
    int: "integer",
    float: "number",
    Path: "path",
    type(None): "none",
}
_SECTIONS: Final = "strongroom.spec.serve"


class UnwritableError(Exception):
    """Something cannot be written down exactly."""


def values_without_references(config: type[BaseModel], node: Node, inner: set[str]) -> dict[str, Any] | None:
    """Return the options without references as the model makes them; None if that is not known.

    Raises:
        UnwritableError: No record can hold it exactly.
    """
    options = {name: one for name, one in node.mapping.items() if name != "type" and name not in inner}
    open_ones = {
        name
        for name, one in options.items()
        if any(references.has_reference(scalar.value) for _, scalar in one.scalars())
    }
    data = {name: one.data() for name, one in options.items() if name not in open_ones}
    if any(one.validation_alias not in {None, one.alias} for one in config.model_fields.values()):
        raise UnwritableError
    if not open_ones:
        model = config.model_validate_json(json.dumps({**data, **dict.fromkeys(inner)}), strict=True)
        return {name: getattr(model, name) for name in config.model_fields}
    return _one_by_one(config, data, {name: options[name].data() for name in open_ones})


def _one_by_one(
    config: type[BaseModel], data: dict[str, Any], written: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the values of the members that are known, each by its own rules; `written` are the others."""
    from pydantic import TypeAdapter

    if _unclear_validators(config) or config.__pydantic_decorators__.field_validators:
        return None
    values: dict[str, Any] = {}
    for field, info in config.model_fields.items():
        name = info.alias or field
        if name in data:
            annotated: Any = (
                typing.Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            )
            values[field] = TypeAdapter(annotated).validate_json(json.dumps(data[name]), strict=True)
        elif not info.is_required():
            values[field] = info.get_default(call_default_factory=True)
    _check_structure(config, values, written)
    return values


def _check_structure(config: type[BaseModel], values: dict[str, Any], written: dict[str, Any]) -> None:
    """Raise `UnwritableError` if what is given breaks a rule of the model, whatever the references say.

    A load that looks nothing up leaves such a rule to the first use, which a record does without.
    """
    given = {field: written.get(info.alias or field) for field, info in config.model_fields.items()}
    known = {field: value for field, value in values.items() if given[field] is None}
    model = config.model_construct(
        **{**{name: one for name, one in given.items() if one is not None}, **known}
    )
    for rule in sorted(_structural(config)):
        try:
            getattr(model, rule)()
        except Exception as error:  # a plugin's rule; the full load says what is wrong
            raise UnwritableError from error


def _structural(config: type[BaseModel]) -> frozenset[str]:
    """Return the names of a model's rules that are about what is given, and not about what a text says."""
    named: frozenset[str] = getattr(config, "rules_of_structure", frozenset())
    return named


def _unclear_validators(config: type[BaseModel]) -> bool:
    """Return whether a model has its own rules, which the text of a reference could break."""
    decorators = config.__pydantic_decorators__
    own = config.model_post_init is not BaseModel.model_post_init or config.__init__ is not BaseModel.__init__
    return (
        own
        or bool({*decorators.model_validators, *decorators.root_validators} - _structural(config))
        or bool(decorators.validators)
        or not _SETTINGS.issuperset(config.model_config)
    )


def rule_of(config: type[BaseModel], name: str, info: Any) -> dict[str, Any]:
    """Return the rule for the text of an option, for `strongroom.spec.rules`.

    Raises:
        UnwritableError: No record can hold it exactly.
    """
    decorators = config.__pydantic_decorators__
    fields = {one for validator in decorators.field_validators.values() for one in validator.info.fields}
    if fields & {name, "*"} or _unclear_validators(config):
        raise UnwritableError
    rule: dict[str, Any] = {"kinds": _kinds(info.annotation)}
    for one in info.metadata:
        rule |= _constraint(one)
    return rule


def _kinds(annotation: Any) -> list[Any]:  # noqa: PLR0911  # a table of cases
    """Return the kinds of values of an option: names of scalars, and lists and mappings of them."""
    if annotation is Any:
        return ["any"]
    if annotation in _KINDS:
        return [_KINDS[annotation]]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return [kind for one in args for kind in _kinds(one)]
    if origin is Literal:
        return ["other"]
    if origin is typing.Annotated and typing.get_origin(args[0]) is list:
        return _kinds(args[0])  # its demands are about the list, which references do not change
    if origin is list and len(args) == 1:
        return [["list", _kinds(args[0])]]
    if origin is tuple and args[1:] == (...,):
        return [["tuple", _kinds(args[0])]]
    if origin in {dict, Mapping} and len(args) == 2 and args[0] is str:  # noqa: PLR2004  # names and values
        return [["mapping", _kinds(args[1])]]
    raise UnwritableError


def section_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a part of `serve:`, by itself or in a list; None for any other option.

    Models of plugins are left out, since they may change their members.
    """
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == _SECTIONS:
            return one
    return None


def rule_inside(rule: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the rule for the items of a list or mapping.

    Raises:
        UnwritableError: No record can hold it exactly.
    """
    if "any" in rule["kinds"]:
        return {"kinds": ["any"]}
    found = [one[1] for one in rule["kinds"] if isinstance(one, list) and one[0] == kind]
    if len(found) != 1:
        raise UnwritableError
    return {"kinds": found[0]}


def _constraint(constraint: Any) -> dict[str, Any]:
    """Return what an annotation demands.

    Raises:
        UnwritableError: It is not one of the plain annotations.
    """
    known: list[tuple[type, str, str]] = [
        (annotated_types.MinLen, "min_length", "least"),
        (annotated_types.MaxLen, "max_length", "most"),
        (annotated_types.Ge, "ge", "ge"),
        (annotated_types.Gt, "gt", "gt"),
        (annotated_types.Le, "le", "le"),
        (annotated_types.Lt, "lt", "lt"),
    ]
    for kind, member, name in known:
        if type(constraint) is kind:
            return {name: getattr(constraint, member)}
    members = vars(constraint) if hasattr(constraint, "__dict__") else {}
    pattern = members.get("pattern")
    if set(members) == {"pattern"} and isinstance(pattern, str) and re.fullmatch(_SAFE_PATTERN, pattern):
        return {"pattern": pattern.replace("$", r"\Z")}
    raise UnwritableError
