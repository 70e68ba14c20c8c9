"""Members of secrets that hold JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from strongroom.errors import SecretNotFoundError, ValidationError, show_key

__all__ = ["member_of", "with_member"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def member_of(value: str, key: str, field: str) -> str:
    """Return the member `field` of the JSON text `value` of `key`; `a.b` and `a.0` descend.

    A member that is text is returned as it is, any other as JSON text, with its numbers as they are written.

    Raises:
        ValidationError: The value is not a JSON object or list, or the member is not Unicode text.
        SecretNotFoundError: It has no such member.
    """
    data = _with_members(value, key)
    member = _descend(data, field)
    if member is _NOTHING:
        raise _no_field(key, field)
    if not isinstance(member, str):
        return _as_json(member)
    if _SURROGATE.search(member):  # JSON can hold half of a pair, and no text that is written or sent can
        raise ValidationError(
            f"the field {show_key(field)} of {show_key(key)} holds a lone surrogate, "
            "which is not Unicode text",
            key=key,
            hint="store the whole text again: a program has cut it within a character",
        )
    return str(member)


def with_member(value: str, key: str, field: str, new: str, *, add: bool = False) -> str:
    """Return the JSON text `value` of `key` with `new` as its member `field`; `a.b` descends.

    The other members stay, with their numbers as they are written.

    Args:
        value: The JSON text.
        key: Its key, for messages.
        field: The member.
        new: What it is to be.
        add: Add a member of this name, dots and all, to an object that has none.

    Raises:
        ValidationError: The value is not a JSON object.
        SecretNotFoundError: It has no such member.
    """
    data = _with_members(value, key)
    if _descend(data, field) is not _NOTHING:
        _replace(data, field, new)
    elif add and isinstance(data, dict):
        data[field] = new
    else:
        raise _no_field(key, field)
    return _as_json(data)


def _with_members(value: str, key: str) -> Any:
    """Return the object or list that the value of `key` holds."""
    try:
        data = _parsed(value)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict | list):
        return data
    # Outside the `except` block: json's error holds the whole value.
    raise ValidationError(
        f"{show_key(key)} has no fields: its value is not a JSON object",
        key=key,
        hint="ask for it without a field",
    )


def _no_field(key: str, field: str) -> SecretNotFoundError:
    return SecretNotFoundError(
        key,
        f"secret {show_key(key)} has no field {show_key(field)}",
        hint=f"`strongroom get {show_key(key)}` shows all that it has",
    )


class _Number(str):
    """The text of a number: 1.50 stays 1.50, and a long one keeps all its digits."""

    __slots__ = ()


def _parsed(text: str) -> Any:
    return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _as_json(data: Any) -> str:
    if isinstance(data, _Number):
        return str(data)
    parts = []
    if isinstance(data, dict):
        # A loop: a comprehension would take two frames for each level, and fail where `json` could read it.
        for name, item in data.items():
            parts.append(f"{_text_as_json(name)}: {_as_json(item)}")
        return f"{{{', '.join(parts)}}}"
    if isinstance(data, list):
        for item in data:
            parts.append(_as_json(item))  # noqa: PERF401  # as for the members above
        return f"[{', '.join(parts)}]"
    return _text_as_json(data)


def _text_as_json(data: Any) -> str:
    """Return text or a constant as JSON; half of a surrogate pair stays the escape that it was."""
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", json.dumps(data, ensure_ascii=False))


def _replace(data: Any, field: str, new: str) -> None:
    """Replace the member that `_descend` finds by `new`."""
    if isinstance(data, dict) and field in data:
        data[field] = new
        return
    if isinstance(data, list) and field.isascii() and field.isdigit():
        data[int(field)] = new
        return
    for at, character in enumerate(field):
        if character == ".":
            step = _descend_one(data, field[:at])
            if step is not _NOTHING and _descend(step, field[at + 1 :]) is not _NOTHING:
                _replace(step, field[at + 1 :], new)
                return


_NOTHING = object()


def _descend(data: Any, field: str) -> Any:
    """Return the member at `field`; a name that itself has a dot is found before it is split."""
    if isinstance(data, dict) and field in data:
        return data[field]
    if isinstance(data, list) and field.isascii() and field.isdigit():
        return data[int(field)] if int(field) < len(data) else _NOTHING
    for at, character in enumerate(field):
        if character == ".":
            step = _descend_one(data, field[:at])
            if step is not _NOTHING:
                found = _descend(step, field[at + 1 :])
                if found is not _NOTHING:
                    return found
    return _NOTHING


def _descend_one(data: Any, name: str) -> Any:
    if isinstance(data, dict):
        return data.get(name, _NOTHING)
    if isinstance(data, list) and name.isascii() and name.isdigit() and int(name) < len(data):
        return data[int(name)]
    return _NOTHING
