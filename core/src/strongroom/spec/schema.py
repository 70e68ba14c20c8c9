"""The JSON Schema of the spec, for editors: the frame with the options of every installed plugin."""

from __future__ import annotations

import copy
from typing import Any

from strongroom.plugins import ComponentInfo, Kind, PluginFinder, finder
from strongroom.spec.models import Spec
from strongroom.spec.serve import Serve

__all__ = ["json_schema"]

_REFERENCE = {
    "type": "string",
    "pattern": r"^\$\{(env|file|secret):[^}]+\}$",
    "description": "A reference: ${env:NAME}, ${file:path} or ${secret:PIPELINE:KEY}.",
}
_IN_TEXT = {
    "type": "string",
    "pattern": r"\$\{(env|file|secret):[^}]+\}",
    "description": "Text with references: ${env:NAME}, ${file:path} or ${secret:PIPELINE:KEY}.",
}
_CONSTRAINTS = frozenset({"pattern", "maxLength", "minLength", "format", "enum", "const"})
_TYPE = "The type name of the component; its other options depend on it."
_PARTIAL = frozenset({"Pipeline", "Secret", "Fallback", "Serve", "Serve.Tls"})
"""Definitions of which a profile may change a part."""
_DEFINITIONS: dict[Kind, str] = {
    "provider": "Provider",
    "middleware": "MiddlewareComponent",
    "hook": "Hook",
    "encryption": "Encryption",
    "cache": "CacheStore",
    "rotator": "Rotator",
}


def json_schema(plugins: PluginFinder = finder) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the spec with the installed plugins' options."""
    schema = Spec.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    definitions.pop("Component", None)
    rows = [row for row in plugins.list_components() if row.plugin is not None and row.error is None]
    for kind, name in _DEFINITIONS.items():
        of_kind = [row for row in rows if row.kind == kind]
        for row in of_kind:
            definitions[f"{name}.{row.name}"] = _component(row, definitions)
        definitions[name] = _choice(name, of_kind)
    definitions |= _serve()
    schema["properties"]["serve"] = {"anyOf": [{"$ref": "#/$defs/Serve"}, {"type": "null"}]}
    _point(definitions["Pipeline"]["properties"])
    _point(definitions["Rotate"]["properties"])
    _point(schema["properties"])
    # A profile is a piece of a spec: the same members, none of them required.
    partial = _partial(
        {key: value for key, value in schema["properties"].items() if key not in {"version", "profiles"}}
    )
    definitions |= {
        f"Partial{name}": _loose(definitions[name])
        for name in ("Pipeline", "Secret", "Route", "Fallback", "Serve", "Serve.Tls")
    }
    schema["properties"]["profiles"]["additionalProperties"] = {
        "type": "object",
        "properties": partial,
        "additionalProperties": False,
    }
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "strongroom spec"}
    return schema


def _component(row: ComponentInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    assert row.plugin is not None  # noqa: S101  # only rows with one come here
    options = row.plugin.config.model_json_schema(ref_template=f"#/$defs/{row.name}.{{model}}")
    for name, nested in options.pop("$defs", {}).items():
        definitions[f"{row.name}.{name}"] = nested
    properties = {name: _or_reference(one) for name, one in options.get("properties", {}).items()}
    return {
        "type": "object",
        "description": row.summary,
        "properties": {"type": {"const": row.name, "description": row.summary}, **properties},
        "required": ["type", *options.get("required", [])],
        "additionalProperties": False,
    }


def _serve() -> dict[str, Any]:
    """Return the definitions of the section `serve`, by name."""
    whole = Serve.model_json_schema(ref_template="#/$defs/Serve.{model}")
    parts = {f"Serve.{name}": one for name, one in whole.pop("$defs").items()}
    for one in (whole, *parts.values()):
        one["properties"] = {name: _or_reference(option) for name, option in one["properties"].items()}
    return {"Serve": whole, **parts}


def _or_reference(option: dict[str, Any]) -> dict[str, Any]:
    """Allow a reference instead of an option of any type, and in longer text where the option is text."""
    about = ("description", "title", "default")
    described: dict[str, Any] = {key: option[key] for key in about if key in option}
    if "component" in option:
        component = {"$ref": f"#/$defs/{_DEFINITIONS[option['component']]}"}
        described = {"description": option["description"]}
        optional = "default" in option and option["default"] is None
        return described | ({"anyOf": [component, {"type": "null"}]} if optional else component)
    if option.get("type") == "string" and _CONSTRAINTS.isdisjoint(option):
        return option
    rest = {key: value for key, value in option.items() if key not in about}
    for inside in ("items", "additionalProperties"):
        if isinstance(rest.get(inside), dict) and "$ref" not in rest[inside]:
            rest[inside] = _or_reference(rest[inside])
    is_text = any(one.get("type") == "string" for one in (rest, *rest.get("anyOf", ())))
    return described | {"anyOf": [rest, _IN_TEXT if is_text else _REFERENCE]}


def _choice(name: str, rows: list[ComponentInfo]) -> dict[str, Any]:
    """Return the schema that picks a component's options by its type."""
    if not rows:
        return {
            "type": "object",
            "properties": {"type": {"type": "string", "description": _TYPE}},
            "required": ["type"],
        }
    return {
        "type": "object",
        "properties": {"type": {"enum": [row.name for row in rows], "description": _TYPE}},
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": row.name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{name}.{row.name}"},
            }
            for row in rows
        ],
    }


def _point(properties: dict[str, Any]) -> None:
    """Make the members that hold components point to the choice of their kind."""
    places = {
        "provider": "Provider",
        "middleware": "MiddlewareComponent",
        "hooks": "Hook",
        "rotation_lock": "CacheStore",
        "rotator": "Rotator",
    }
    for member, name in places.items():
        if member in properties:
            properties[member] = _replaced(properties[member], name)


def _replaced(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {
            key: f"#/$defs/{name}" if key == "$ref" and one == "#/$defs/Component" else _replaced(one, name)
            for key, one in value.items()
        }
    return [_replaced(one, name) for one in value] if isinstance(value, list) else value


def _loose(definition: dict[str, Any]) -> dict[str, Any]:
    loose = copy.deepcopy(definition)
    loose.pop("required", None)
    loose["properties"] = _partial(loose["properties"])
    return loose


def _partial(value: Any) -> Any:
    """Point to the loose variants, in which nothing is required; lists are replaced whole, so stay strict."""
    if isinstance(value, dict):
        result = {}
        for key, member in value.items():
            if key == "$ref" and member.rpartition("/")[2] in _PARTIAL:
                result[key] = member.replace("/$defs/", "/$defs/Partial")
            elif key == "$ref" and member.endswith("/Provider"):
                result = {"type": "object"}  # without a type it is merged over the provider of the spec
            else:
                result[key] = _partial(member)
        return result
    return [_partial(one) for one in value] if isinstance(value, list) else value
