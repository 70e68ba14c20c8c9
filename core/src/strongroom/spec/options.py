"""The options of one component: checked by its plugin's model, with references filled in.

Types are not guessed: validation is strict, as JSON is. A scalar that is just one reference is
allowed for an option of any type; its text is converted strictly once it is known.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from strongroom.errors import ConfigurationError, PluginError
from strongroom.paths.user_home import expanded
from strongroom.plugins import Kind, Plugin, PluginFinder, finder
from strongroom.runtime.frozen import NamedTuple
from strongroom.spec import references
from strongroom.spec.complaints import ModelErrors, complaints_of, scrubbed, unknown_key, with_hint
from strongroom.spec.document import Node, plain_scalar
from strongroom.spec.document import Path as NodePath
from strongroom.spec.plan import Part
from strongroom.spec.references import BadReferenceError, ReferenceSources, UnresolvedError
from strongroom.spec.validated_options import ValidatedOptions

__all__ = [
    "Complaint",
    "OptionsError",
    "check_options",
    "parts_of",
    "prepare_options",
    "public_options",
]

Complaint = tuple[NodePath, str]
"""The place below the component, and what is wrong there."""
_NEVER_TEXT = frozenset({"bool_type", "float_type", "int_type"})
"""The kinds of pydantic's errors for an option that no text fits."""


class OptionsError(Exception):
    """The options do not fit once references are filled in; holds no value."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__(f"{len(complaints)} problems")
        self.complaints = complaints


def check_options(plugin: Plugin, node: Node, known: ValidatedOptions | None = None) -> list[Complaint]:
    """Return what is wrong with the options as written, looking nothing up.

    Args:
        plugin: The component's plugin.
        node: Where its options are written.
        known: Gets the validated options, for `prepare_options`.
    """
    complaints = _bad_references(node) + _unknown_options(plugin, node)
    data = _options_data(node)
    model = _model_of(plugin.config, data)
    if known is not None and isinstance(model, BaseModel):
        known.keep_written(plugin.config, node, model)
    elif known is not None and isinstance(model, list):
        known.keep_numbers(node, _wanted_as_numbers(node, model))
    for loc, kind, message in model if isinstance(model, list) else ():
        if kind == "extra_forbidden" and len(loc) == 1:
            continue  # reported already, with the nearest name
        at = node.at(loc)
        if references.has_reference(at.value) and not _wrong_even_so(at.value, kind):
            continue
        complaints.append((loc, with_hint(kind, scrubbed(kind, message, data), at.value)))
    return complaints


def prepare_options(
    plugin: Plugin,
    node: Node,
    sources: ReferenceSources,
    plugins: PluginFinder = finder,
    known: ValidatedOptions | None = None,
) -> dict[str, Any]:
    """Return the factory's keyword arguments, with references filled in and paths made absolute.

    Args:
        plugin: The component's plugin.
        node: Where its options are written.
        sources: Where references are looked up.
        plugins: Where the components inside these options are looked for.
        known: Options that were validated before, and are not validated again.

    Raises:
        OptionsError: A reference leads nowhere, or its text does not fit.
    """
    data = _options_data(node)
    brought_in = _bring_in(data, node, sources)
    # `take` returns a copy of its own: the factory may change lists and mappings that it gets.
    model = None if known is None else known.take(plugin.config, node, brought_in)
    if model is None:
        model = _validated(plugin.config, data, node, brought_in, known)
    options = _members_of(model, plugin, sources.folder)
    for path in brought_in:
        text = str(node.at(path).value)
        _mark_text(options, path, partial(references.with_reference, text=text, sources=sources))
    for name, inner in parts_of(plugin, node):
        options[name] = _prepared_part(name, inner, sources, plugins, known)
    return options


def _bring_in(data: dict[str, Any], node: Node, sources: ReferenceSources) -> dict[NodePath, str]:
    """Fill the references at `node` into `data`, and return their texts by path."""
    unresolved: list[Complaint] = []
    brought_in: dict[NodePath, str] = {}
    for path, scalar in node.scalars():
        if path == ("type",) or not references.has_reference(scalar.value):
            continue
        try:
            brought_in[path] = references.resolve(str(scalar.value), sources)
        except (UnresolvedError, BadReferenceError) as error:
            unresolved.extend((path, str(problem)) for problem in error.args)
        else:
            _put(data, path, brought_in[path])
    if unresolved:
        raise OptionsError(unresolved)
    return brought_in


def _wanted_as_numbers(node: Node, errors: ModelErrors) -> frozenset[NodePath]:
    """Return the lone references that a model refused only because they are text."""
    wanted: set[NodePath] = set()
    for path, scalar in node.scalars():
        kinds = {kind for loc, kind, _ in errors if loc[: len(path)] == path}
        if kinds and kinds <= _NEVER_TEXT and references.has_reference(scalar.value):
            with contextlib.suppress(BadReferenceError):  # reported already
                if references.is_lone_reference(str(scalar.value)):
                    wanted.add(path)
    return frozenset(wanted)


def _members_of(model: BaseModel, plugin: Plugin, folder: str | os.PathLike[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field, info in plugin.config.model_fields.items():
        name = info.alias or field
        try:
            options[name] = _placed(getattr(model, field), folder)
        except ConfigurationError as error:  # a `~` of a user without a home
            raise OptionsError([((name,), str(error))]) from None
    return options


def _prepared_part(
    name: str,
    inner: InnerPart,
    sources: ReferenceSources,
    plugins: PluginFinder,
    known: ValidatedOptions | None,
) -> Part:
    try:
        plugin = plugins.find(inner.kind, inner.type)
    except PluginError as error:
        raise OptionsError([((name, "type"), str(error))]) from error
    try:
        own = prepare_options(plugin, inner.node, sources, plugins, known)
    except OptionsError as error:
        raise OptionsError([((name, *where), complaint) for where, complaint in error.complaints]) from error
    return Part(plugin.name, plugin.factory, own, public_options(plugin), plugin.address)


def public_options(plugin: Plugin) -> frozenset[str]:
    """Return the names that the options which hold no secrets have in a spec."""
    return frozenset(field.alias or name for name, field in plugin.config.model_fields.items() if field.repr)


class InnerPart(NamedTuple):
    """The place of a component inside another one's options."""

    kind: Kind
    type: str
    node: Node


def parts_of(plugin: Plugin, node: Node) -> list[tuple[str, InnerPart]]:
    """Return the components inside the options at `node`, by the option's name."""
    parts = []
    for name, info in plugin.config.model_fields.items():
        extra = info.json_schema_extra
        inner = node.mapping.get(name)
        if isinstance(extra, dict) and "component" in extra and inner is not None and inner.value is not None:
            type_node = inner.mapping.get("type")
            type_name = type_node.value if type_node is not None else None
            kind: Kind = str(extra["component"])  # type: ignore[assignment]  # a plugin's config says one of them
            parts.append((name, InnerPart(kind, type_name if isinstance(type_name, str) else "", inner)))
    return parts


def _options_data(node: Node) -> dict[str, Any]:
    return {key: child.data() for key, child in node.mapping.items() if key != "type"}


def _bad_references(node: Node) -> list[Complaint]:
    complaints: list[Complaint] = []
    for path, scalar in node.scalars():
        if references.has_reference(scalar.value):
            try:
                references.parse(str(scalar.value))
            except BadReferenceError as error:
                complaints.append((path, str(error)))
    return complaints


def _unknown_options(plugin: Plugin, node: Node) -> list[Complaint]:
    # Even if the plugin's model allows any name: a misspelt option must not be ignored.
    names = {info.alias or name for name, info in plugin.config.model_fields.items()}
    return [((key,), unknown_key(key, names)) for key in node.mapping if key not in {"type", *names}]


def _wrong_even_so(value: object, kind: str) -> bool:
    """Return whether an error will remain after the reference is filled in."""
    try:
        lone = references.is_lone_reference(str(value))
    except BadReferenceError:
        return False
    return not lone and kind.endswith(("_type", "_parsing"))


def _model_of(config: type[BaseModel], data: dict[str, Any]) -> BaseModel | ModelErrors:
    """Return the options as the plugin's model, or what is wrong with them."""
    try:
        model = config.model_validate_json(json.dumps(data), strict=True)
        return _empty_paths(config, data) or model
    except ValidationError as error:
        return complaints_of(error)
    except Exception as error:  # noqa: BLE001  # a plugin's own validator may raise anything; its text could hold a value
        return [((), "plugin", f"the plugin's own check failed with {type(error).__name__}")]


def _empty_paths(config: type[BaseModel], data: Mapping[str, Any]) -> ModelErrors:
    """Return an error for each path that is empty: it would mean the spec's folder, and all that is in it."""
    empty: ModelErrors = []
    for field, info in config.model_fields.items():
        name = info.alias or field
        given = data.get(name)
        among: Any = (
            given.values() if isinstance(given, dict) else given if isinstance(given, list) else [given]
        )
        if _holds_path(info.annotation) and "" in among:
            empty.append(((name,), "asked_for", "the path is empty; the spec's folder is '.'"))
    return empty


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(map(_holds_path, typing.get_args(annotation)))


def _validated(
    config: type[BaseModel],
    data: dict[str, Any],
    node: Node,
    brought_in: Mapping[NodePath, str],
    known: ValidatedOptions | None,
) -> BaseModel:
    lone = {path for path in brought_in if references.is_lone_reference(str(node.at(path).value))}
    for path in known.numbers(node) & lone if known is not None else ():
        _put(data, path, _as_scalar(_get(data, path)))
    model = _model_of(config, data)
    if isinstance(model, list) and lone:
        # The option needs a number or boolean: read the reference's text as a plain scalar.
        for loc, kind, _ in model:
            refused = next((path for path in lone if loc[: len(path)] == path), None)
            if refused is not None and kind.endswith(("_type", "_parsing")):
                _put(data, refused, _as_scalar(_get(data, refused)))
        model = _model_of(config, data)
    if isinstance(model, list):
        raise OptionsError([(loc, scrubbed(kind, message, data)) for loc, kind, message in model])
    if known is not None and brought_in:
        known.keep_filled(config, node, brought_in, model)
    return model


def _as_scalar(text: object) -> object:
    """Return the text of a reference as a plain scalar of YAML."""
    return plain_scalar(text) if isinstance(text, str) and text else text


def _placed(value: Any, folder: str | os.PathLike[str]) -> Any:
    """Return `value` with the paths in it made absolute, from the spec's folder."""
    if isinstance(value, Path):
        return Path(os.path.normpath(Path(folder, expanded(value))))
    if isinstance(value, list | tuple | set | frozenset):
        made: Any = getattr(type(value), "_make", type(value))  # a named tuple takes its members one by one
        return made(_placed(item, folder) for item in value)
    if isinstance(value, dict):
        return {name: _placed(item, folder) for name, item in value.items()}
    if isinstance(value, BaseModel):
        placed = {name: _placed(getattr(value, name), folder) for name in type(value).model_fields}
        return value.model_copy(update=placed)
    return value


def _mark_text(options: Any, path: NodePath, marked: Callable[[str], str]) -> Any:
    """Return `options` with what `marked` returns for the text at `path`, if it is still text.

    Mappings and lists are changed, tuples are made again.
    """
    if not path:
        return marked(options) if isinstance(options, str) else options
    at, below = path[0], path[1:]
    with contextlib.suppress(LookupError, TypeError):  # the plugin's model has made something else of it
        if type(options) is tuple and isinstance(at, int):
            return tuple(
                _mark_text(one, below, marked) if place == at else one for place, one in enumerate(options)
            )
        if type(options) in {dict, list}:
            options[at] = _mark_text(options[at], below, marked)
    return options


def _get(data: Any, path: NodePath) -> Any:
    for part in path:
        data = data[part]
    return data


def _put(data: Any, path: NodePath, value: object) -> None:
    _get(data, path[:-1])[path[-1]] = value
