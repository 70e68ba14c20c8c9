"""The errors of a model about options, in the words of our other messages, and without a value."""

from __future__ import annotations

import re

from pydantic import ValidationError

from strongroom.plugins import did_you_mean
from strongroom.spec.document import Path as NodePath

__all__ = ["ModelErrors", "complaints_of", "scrubbed", "unknown_key", "with_hint"]

ModelErrors = list[tuple[NodePath, str, str]]
"""For each error: its place, pydantic's name for it, and our message."""
_MIN_MASKED = 3
_QUOTED = r"'([^']+)'"
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
_OF_THE_MODEL = frozenset(
    {
        "asked_for",  # a model's own `PydanticCustomError`, which promises to hold no value
        "enum",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "literal_error",
        "multiple_of",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "too_long",
        "too_short",
    }
)
"""What pydantic says of these tells what the model asks for, and never what it was given."""
_PLAIN = {
    "Input should be ": "expected ",
    "String should match pattern ": "expected text that matches ",
    "expected greater than or equal to": "expected at least",
    "expected less than or equal to": "expected at most",
    "expected greater than": "expected more than",
}
"""Words of pydantic, and the words that we use instead."""
_COUNTED = r"^\w+ should have (at least|at most) (\d+ \w+)\b.*$"
_ADDRESSES = {
    "https?": "http:// or https://",
    "[hH][tT][tT][pP][sS]?": "http:// or https://",
    "[hH][tT][tT][pP][sS]": "https://",
    "postgres(ql)?": "postgresql://",
    "(mariadb|mysql)": "mariadb:// or mysql://",
    "(rediss?|unix)": "redis://, rediss:// or unix://",
    "(rediss?|unix|rediss?\\+(sentinel|cluster))": "redis://, rediss:// or unix://, or redis+sentinel:// or redis+cluster://",
}
"""How an address begins, by the scheme in the pattern of its option."""


def complaints_of(error: ValidationError) -> ModelErrors:
    """Return place, kind and message of each of pydantic's errors, without its input."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [(tuple(one["loc"]), one["type"], _friendly(one["type"], one["msg"])) for one in details]


def unknown_key(key: str, names: set[str]) -> str:
    """Return the message for a key that is not one of `names`."""
    known = did_you_mean(key, names, f"expected one of: {', '.join(sorted(names)) or 'nothing'}")
    return f"unknown key; {known}"


def with_hint(kind: str, message: str, value: object) -> str:
    """Add to a message what `value` shows: the name that was most likely meant, or that nothing is given."""
    if kind == "string_type" and not isinstance(value, bool | int | float):
        # Quotes do not help here.
        return "expected text, and nothing is given" if value is None else "expected text"
    if kind == "literal_error" and message == "expected 1" and value == "1":
        return "expected 1, without quotes"
    if kind not in {"literal_error", "enum"} or not isinstance(value, str):
        return message
    hint = did_you_mean(value, re.findall(_QUOTED, message), otherwise="")
    return f"{message}; {hint}" if hint else message


def scrubbed(kind: str, message: str, data: object) -> str:
    """Take every value of `data` out of `message`: a plugin's validator may have put one in."""
    if kind in _FRIENDLY or kind in _OF_THE_MODEL:
        return message
    for text in sorted(_texts(data), key=len, reverse=True):
        if len(text) >= _MIN_MASKED:
            message = message.replace(text, "…").replace(repr(text)[1:-1], "…")
    return " ".join(message.split())


def _friendly(kind: str, message: str) -> str:
    if kind == "string_pattern_mismatch":
        scheme = message.partition("'^")[2].partition("://")[0]
        if scheme in _ADDRESSES:
            return f"expected an address that begins with {_ADDRESSES[scheme]}"
    message = _FRIENDLY.get(kind) or message.removeprefix("Value error, ")
    for said, plain in _PLAIN.items():
        message = message.replace(said, plain, 1)
    return re.sub(_COUNTED, r"expected \1 \2", message)


def _texts(data: object) -> set[str]:
    if isinstance(data, dict):
        return {text for value in data.values() for text in _texts(value)}
    if isinstance(data, list):
        return {text for value in data for text in _texts(value)}
    return {str(data)} if isinstance(data, str | int | float) and not isinstance(data, bool) else set()
