"""The options of one component: checked by its plugin's model, with references filled in.

Types are not guessed: validation is strict, as JSON is. A scalar that is just one reference is
allowed for an option of any type; what it brings in is converted strictly once it is known.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from strongroom.errors import ConfigurationError, PluginError
from strongroom.paths.user_home import expanded
from strongroom.plugins import Kind, Plugin, PluginFinder, did_you_mean, finder
from strongroom.spec import references
from strongroom.spec.document import Node, plain_scalar
from strongroom.spec.document import Path as NodePath
from strongroom.spec.plan import Part
from strongroom.spec.references import BadReferenceError, ReferenceSources, UnresolvedError

__all__ = [
    "Complaint",
    "Models",
    "OptionsError",
    "check_options",
    "complaints_of",
    "parts_of",
    "prepare_options",
    "public_options",
    "unknown_key",
    "with_nearest",
]

_MIN_MASKED = 3
_QUOTED = re.compile(r"'([^']+)'")
Complaint = tuple[NodePath, str]
"""Where below the component, and what is wrong."""
Models = dict[tuple[type[BaseModel], int], BaseModel]
"""What options without references came to, by their model and the `id` of their node, which must live on."""
_PLAIN_TYPES = frozenset({type(None), bool, int, float, str, bytes, type(Path())})


class OptionsError(Exception):
    """The options do not fit once references are filled in; holds no value."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__(f"{len(complaints)} problems")
        self.complaints = complaints


def check_options(plugin: Plugin, node: Node, known: Models | None = None) -> list[Complaint]:
    """Return what is wrong with the options as written, looking nothing up.

    Args:
        plugin: The component's plugin.
        node: Where its options are written.
        known: Takes what the options came to, for `prepare_options`.
    """
    complaints = _bad_references(node) + _unknown_options(plugin, node)
    data = _options_data(node)
    model = _model_of(plugin.config, data)
    if known is not None and type(model) is plugin.config and _is_plain(model) and not _has_references(node):
        known[plugin.config, id(node)] = model
    for loc, kind, message in model if isinstance(model, list) else ():
        if kind == "extra_forbidden" and len(loc) == 1:
            continue  # said already, with the nearest name
        at = node.at(loc)
        if references.has_reference(at.value) and not _wrong_even_so(at.value, kind):
            continue
        complaints.append((loc, with_nearest(kind, _scrubbed(kind, message, data), at.value)))
    return complaints


def prepare_options(
    plugin: Plugin,
    node: Node,
    sources: ReferenceSources,
    plugins: PluginFinder = finder,
    known: Models | None = None,
) -> dict[str, Any]:
    """Return the factory's keyword arguments, with references filled in and paths made whole.

    Args:
        plugin: The component's plugin.
        node: Where its options are written.
        sources: Where references are looked up.
        plugins: Where the components inside these options are looked for.
        known: What options without references came to before: they are not validated again.

    Raises:
        OptionsError: A reference leads nowhere, or what it brings in does not fit.
    """
    data = _options_data(node)
    unresolved: list[Complaint] = []
    brought_in: dict[NodePath, str] = {}
    lone: set[NodePath] = set()
    for path, scalar in node.scalars():
        if path == ("type",) or not references.has_reference(scalar.value):
            continue
        text = str(scalar.value)
        try:
            resolved = references.resolve(text, sources)
        except (UnresolvedError, BadReferenceError) as error:
            unresolved.extend((path, str(problem)) for problem in error.args)
        else:
            _put(data, path, resolved)
            brought_in[path] = text
            if references.is_lone_reference(text):
                lone.add(path)
    if unresolved:
        raise OptionsError(unresolved)
    # Nobody else has what is copied: the factory may change lists and mappings that it is given.
    before = None if known is None or brought_in else known.get((plugin.config, id(node)))
    model = _validated(plugin.config, data, lone) if before is None else before.model_copy(deep=True)
    options = _members_of(model, plugin, sources.folder)
    for path, text in brought_in.items():
        _let_know(options, path, partial(references.with_reference, text=text, sources=sources))
    for name, inner in parts_of(plugin, node):
        options[name] = _prepared_part(name, inner, sources, plugins, known)
    return options


def _has_references(node: Node) -> bool:
    return any(references.has_reference(scalar.value) for _, scalar in node.scalars())


def _is_plain(value: object) -> bool:
    """Tell whether a deep copy of `value` does all that the value itself does."""
    if isinstance(value, BaseModel):
        return not (value.__pydantic_private__ or value.__pydantic_extra__) and all(
            _is_plain(getattr(value, name)) for name in type(value).model_fields
        )
    if type(value) in {list, tuple, set, frozenset}:
        return all(map(_is_plain, value))  # type: ignore[call-overload]  # a collection, as the line above has it
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return type(value) in _PLAIN_TYPES


def _members_of(model: BaseModel, plugin: Plugin, folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field, info in plugin.config.model_fields.items():
        name = info.alias or field
        try:
            options[name] = _placed(getattr(model, field), folder)
        except ConfigurationError as error:  # a `~` of a user without a home
            raise OptionsError([((name,), str(error))]) from None
    return options


def _prepared_part(
    name: str, inner: InnerPart, sources: ReferenceSources, plugins: PluginFinder, known: Models | None
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
    """Return the names of the options that hold no secrets."""
    return frozenset(name for name, field in plugin.config.model_fields.items() if field.repr)


class InnerPart(NamedTuple):
    """Where a component stands inside another one's options."""

    kind: Kind
    type: str
    node: Node


def parts_of(plugin: Plugin, node: Node) -> list[tuple[str, InnerPart]]:
    """Return the components that stand inside the options at `node`, by the option's name."""
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


def complaints_of(error: ValidationError) -> list[tuple[NodePath, str, str]]:
    """Return place, kind and message of each of pydantic's errors, none with its input."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [(tuple(one["loc"]), one["type"], _friendly(one["type"], one["msg"])) for one in details]


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
    # Also where the plugin's model would take anything: a misspelt option must not pass in silence.
    names = {info.alias or name for name, info in plugin.config.model_fields.items()}
    return [((key,), unknown_key(key, names)) for key in node.mapping if key not in {"type", *names}]


def unknown_key(key: str, names: set[str]) -> str:
    """Return the message for a key that none of `names` is."""
    known = did_you_mean(key, names, f"expected one of: {', '.join(sorted(names)) or 'nothing'}")
    return f"unknown key; {known}"


def with_nearest(kind: str, message: str, value: object) -> str:
    """Add the name that was most likely meant to a message that lists the names allowed."""
    if kind not in {"literal_error", "enum"} or not isinstance(value, str):
        return message
    hint = did_you_mean(value, _QUOTED.findall(message), otherwise="")
    return f"{message}; {hint}" if hint else message


def _wrong_even_so(value: object, kind: str) -> bool:
    """Tell whether an error stands although a reference is still to be filled in."""
    try:
        lone = references.is_lone_reference(str(value))
    except BadReferenceError:
        return False
    return not lone and kind.endswith(("_type", "_parsing"))


ModelErrors = list[tuple[NodePath, str, str]]
"""Where something is wrong, pydantic's name for it, and what to say of it."""


def _model_of(config: type[BaseModel], data: dict[str, Any]) -> BaseModel | ModelErrors:
    """Return the options as the plugin's model has them, or what is wrong with them."""
    try:
        return config.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return complaints_of(error)
    except Exception as error:  # noqa: BLE001  # a plugin's own validator may raise anything; its text could hold a value
        return [((), "plugin", f"the plugin's own check failed with {type(error).__name__}")]


def _validated(config: type[BaseModel], data: dict[str, Any], lone: set[NodePath]) -> BaseModel:
    model = _model_of(config, data)
    if isinstance(model, list) and lone:
        # Text from a reference where a number or boolean is wanted: read it as the plain scalar it is.
        for loc, kind, _ in model:
            path = next((path for path in lone if loc[: len(path)] == path), None)
            if path is not None and kind.endswith(("_type", "_parsing")):
                text = _get(data, path)
                _put(data, path, plain_scalar(text) if isinstance(text, str) and text else text)
        model = _model_of(config, data)
    if isinstance(model, list):
        raise OptionsError([(loc, _scrubbed(kind, message, data)) for loc, kind, message in model])
    return model


def _placed(value: Any, folder: Path) -> Any:
    """Make a path relative to the spec's folder whole."""
    if isinstance(value, Path):
        return Path(os.path.normpath(folder / expanded(value)))
    if isinstance(value, list | tuple):
        return type(value)(_placed(item, folder) for item in value)
    if isinstance(value, BaseModel):
        placed = {name: _placed(getattr(value, name), folder) for name in type(value).model_fields}
        return value.model_copy(update=placed)
    return value


def _let_know(options: Any, path: NodePath, made: Callable[[str], str]) -> None:
    """Replace the text at `path`, where it still is text, by what `made` makes of it."""
    *way, last = path
    try:
        for part in way:
            options = options[part]
        value = options[last]
        if isinstance(value, str) and type(options) in {dict, list}:
            options[last] = made(value)
    except (LookupError, TypeError):
        return  # what its plugin's model has made of it is not looked into


def _get(data: Any, path: NodePath) -> Any:
    for part in path:
        data = data[part]
    return data


def _put(data: Any, path: NodePath, value: object) -> None:
    _get(data, path[:-1])[path[-1]] = value


_FRIENDLY = {
    "missing": "required, and missing",
    "extra_forbidden": "unknown key",
    "string_type": "expected text; quote it",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "list_type": "expected a list",
}


_PLAIN = {
    "Input should be ": "expected ",
    "expected greater than or equal to": "expected at least",
    "expected less than or equal to": "expected at most",
    "expected greater than": "expected more than",
}
"""What pydantic says, and how everything else here says it."""


_ADDRESSES = {
    "[hH][tT][tT][pP][sS]?": "http:// or https://",
    "[hH][tT][tT][pP][sS]": "https://",
    "postgres(ql)?": "postgresql://",
    "(mariadb|mysql)": "mariadb:// or mysql://",
    "(rediss?|unix)": "redis://, rediss:// or unix://",
    "(rediss?|unix|rediss?\\+(sentinel|cluster))": "redis://, rediss:// or unix://, or redis+sentinel:// or redis+cluster://",
}
"""How an address begins, by the beginning of the pattern that its option has."""


def _friendly(kind: str, message: str) -> str:
    if kind == "string_pattern_mismatch":
        scheme = message.partition("'^")[2].partition("://")[0]
        if scheme in _ADDRESSES:
            return f"expected an address that begins with {_ADDRESSES[scheme]}"
    message = _FRIENDLY.get(kind) or message.removeprefix("Value error, ")
    for said, plain in _PLAIN.items():
        message = message.replace(said, plain, 1)
    return message


def _scrubbed(kind: str, message: str, data: object) -> str:
    """Take every value of `data` out of `message`: a plugin's validator may have put one in."""
    if kind in _FRIENDLY:
        return message
    for text in sorted(_texts(data), key=len, reverse=True):
        if len(text) >= _MIN_MASKED:
            message = message.replace(text, "…").replace(repr(text)[1:-1], "…")
    return " ".join(message.split())


def _texts(data: object) -> set[str]:
    if isinstance(data, dict):
        return {text for value in data.values() for text in _texts(value)}
    if isinstance(data, list):
        return {text for value in data for text in _texts(value)}
    return {str(data)} if isinstance(data, str | int | float) and not isinstance(data, bool) else set()
