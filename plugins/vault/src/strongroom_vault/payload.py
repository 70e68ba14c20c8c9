"""A secret's fields as one text and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strongroom.errors import SecretNotFoundError, ValidationError, show_key

VALUE = "value"


def text_of(fields: Mapping[str, Any], field: str | None, key: str) -> str:
    """Return the one field, or all fields as a JSON object."""
    if field is None and set(fields) == {VALUE} and isinstance(fields[VALUE], str):
        return fields[VALUE]  # type: ignore[no-any-return]  # the line above has looked
    if field is None:
        return json.dumps(fields, ensure_ascii=False)
    if field not in fields:
        raise SecretNotFoundError(key, provider="vault", hint=f"the secret has no field {field!r}")
    found = fields[field]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def fields_for(old: Mapping[str, Any] | None, value: str, field: str | None, key: str) -> dict[str, Any]:
    """Return what to write so that `value` is read back and nothing else is lost."""
    if field is not None:
        return {**(old or {}), field: value}
    if not old or (set(old) == {VALUE} and isinstance(old[VALUE], str)):
        return {VALUE: value}
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(text, str) for text in parsed.values()):
        raise ValidationError(
            f"vault: {show_key(key)} has several fields and takes only a JSON object of strings",
            key=key,
            provider="vault",
            hint="write such an object, or name one `field`",
        )
    return parsed
