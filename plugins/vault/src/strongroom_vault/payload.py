"""JSON with the numbers' own text; a secret's fields as one text and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Self

from strongroom.errors import SecretNotFoundError, ValidationError, show_key

VALUE = "value"

_EXACT_DIGITS = 15


class Number(float):
    """A number with its text from the server: 1.10 stays 1.10, and no digit of a long one is lost."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


def parsed(data: bytes | str) -> Any:
    """Return the value of the JSON `data`; numbers that Python would change are `Number`.

    Raises:
        ValueError, RecursionError: It is not JSON, or nested too deeply.
    """
    return json.loads(data, parse_int=_integer, parse_float=Number, parse_constant=_no_number)


def as_json(value: Any) -> str:
    """Return `value` as JSON, each `Number` with its original text."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_json(name)}: {as_json(item)}' for name, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_json, value))}]"
    return _json(value)


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text, and every long number, of a request's body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Number):
        yield value.text
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def text_of(fields: Mapping[str, Any], field: str | None, key: str) -> str:
    """Return the one field, or all fields as a JSON object.

    Raises:
        SecretNotFoundError: There is no such field.
    """
    if field is None and set(fields) == {VALUE} and isinstance(fields[VALUE], str):
        return fields[VALUE]  # type: ignore[no-any-return]  # the line above has looked
    if field is None:
        return as_json(fields)
    if field not in fields:
        raise SecretNotFoundError(key, provider="vault", hint=f"the secret has no field {field!r}")
    found = fields[field]
    return found if isinstance(found, str) else as_json(found)


def fields_for(old: Mapping[str, Any] | None, value: str, field: str | None, key: str) -> dict[str, Any]:
    """Return the fields to write, so that reads give `value` and other fields are kept.

    Raises:
        ValidationError: There are several fields, and `value` is not a JSON object of strings.
    """
    if field is not None:
        return {**(old or {}), field: value}
    # A single `value` that is not text (a number, null) comes from another tool, and is replaced like text.
    if not old or set(old) == {VALUE}:
        return {VALUE: value}
    try:
        fields = json.loads(value, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not all(_is_text(text) for pair in fields.items() for text in pair):
        raise ValidationError(
            f"vault: {show_key(key)} has several fields and takes only a JSON object of strings",
            key=key,
            provider="vault",
            hint="write such an object, or name one `field`",
        )
    # An object without another member than `value` would be read as that member's text.
    return fields if set(fields) - {VALUE} else {VALUE: value}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _EXACT_DIGITS and text != "-0" else Number(text)


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    # The server would drop one of two members with the same name.
    return found if len(found) == len(pairs) else None


def _is_text(text: object) -> bool:
    # The server turns a lone surrogate into U+FFFD.
    return isinstance(text, str) and not any("\ud800" <= c <= "\udfff" for c in text)
