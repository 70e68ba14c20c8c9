"""What a declared secret's text has to be: its type, and the rules that its declaration has."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping

from strongroom.declarations.placeholders import is_placeholder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["check_text", "forbidden"]

# Few declarations are of a type with a pattern: they are compiled as they are used.
_INTEGER = r"[+-]?[0-9]{1,4000}"
_EMAIL = r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*"
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_MAX_PORT = 65535


def check_text(secret: SecretPlan, text: str) -> tuple[Any, str | None]:
    """Return the typed value of `text` and None, or None and what is wrong with it."""
    problem = _broken_rule(secret, text)
    if problem is not None:
        return None, problem
    why = ""
    try:
        return _READERS[secret.type](text), None
    except _ReasonError as reason:
        why = f": {reason}"
    except (ValueError, RecursionError):
        why = _white_space(secret, text)
    return None, f"it is not of the type {secret.type}{why}"


class _ReasonError(ValueError):
    """Why a text is not of a type, in words that hold nothing of it."""


def _white_space(secret: SecretPlan, text: str) -> str:
    """Return what to add to a message if only the invisible white space around `text` is wrong."""
    bare = text.strip()
    if bare == text:
        return ""
    try:
        _READERS[secret.type](bare)
    except (ValueError, RecursionError):
        return ""
    if text.rstrip("\r\n") == bare:
        return ": a line end follows it; store it without one (`printf`, not `echo`)"
    return ": there is white space around it; store it without"


def _broken_rule(secret: SecretPlan, text: str) -> str | None:
    if secret.min_length is not None and len(text) < secret.min_length:
        return f"it has {len(text)} characters, at least {secret.min_length} are required"
    if secret.max_length is not None and len(text) > secret.max_length:
        return f"it has {len(text)} characters, at most {secret.max_length} are allowed"
    if secret.pattern is not None:
        from strongroom.plugins.patterns import mismatch

        why = mismatch(secret.pattern, text)
        if why is not None:
            return why
    if secret.one_of is not None and text not in secret.one_of:
        allowed = len(secret.one_of)
        return (
            f"it is not one of the {allowed} values allowed" if allowed > 1 else "it is not the value allowed"
        )
    return forbidden(secret, text)


def forbidden(secret: SecretPlan, text: str) -> str | None:
    """Return why `text` cannot be a secret: the rules forbid it by name, or it is a placeholder."""
    if text.casefold() in {word.casefold() for word in secret.forbid}:
        return "it is one of the forbidden values"
    if not secret.allow_placeholder and _is_left_over(secret, text):
        return "it is a placeholder, not a value (`allow_placeholder: true` takes it all the same)"
    return None


def _is_left_over(secret: SecretPlan, text: str) -> bool:
    return text not in (secret.one_of or ()) and is_placeholder(text, secret.placeholders)


def _integer(text: str) -> int:
    if not re.fullmatch(_INTEGER, text):
        raise ValueError
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[text.lower()]


def _url(text: str) -> str:
    from urllib.parse import urlsplit  # few declarations are of this type, and `run` is to start fast

    parts = urlsplit(text)
    _ = parts.port  # raises where it is not a number
    if not parts.scheme or not (parts.netloc or parts.path) or re.search(r"\s", text):
        raise ValueError
    return text


def _email(text: str) -> str:
    if not re.fullmatch(_EMAIL, text):
        raise ValueError
    return text


def _port(text: str) -> int:
    port = _integer(text)
    if not 0 < port <= _MAX_PORT:
        raise ValueError
    return port


def _base64(text: str) -> bytes:
    import base64  # as above

    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        return base64.b64decode(text.translate({45: 43, 95: 47}) + "=" * (-len(text) % 4), validate=True)


def _pem(text: str) -> str:
    from strongroom.declarations.pem import why_not_pem  # as above

    why = why_not_pem(text)
    if why is not None:
        raise _ReasonError(why)
    return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_json)  # NaN and Infinity are Python's, not JSON's


def _no_json(_name: str) -> Any:
    raise ValueError


_READERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "boolean": _boolean,
    "url": _url,
    "email": _email,
    "port": _port,
    "json": _json,
    "base64": _base64,
    "pem": _pem,
}
