"""What an application declares under `secrets:`, read, typed and checked."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.fields import member_of
from strongroom.spec.plan import Plan, SecretPlan

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry

__all__ = [
    "Found",
    "ResolvedSecrets",
    "Status",
    "check_text",
    "find_all",
    "mark_due",
    "resolve",
    "selected",
]

Status = Literal["ok", "missing", "invalid", "due", "unavailable", "denied"]
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*")
_PEM = re.compile(r"\s*-----BEGIN ([A-Z0-9 ]+)-----\s.*?\s-----END \1-----\s*", re.DOTALL)
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


@dataclass(frozen=True, slots=True)
class Found:
    """One declared secret as it was found; `problem` says what is wrong, never with the value."""

    plan: SecretPlan
    status: Status
    problem: str | None = None
    error: StrongroomError | None = None
    text: str | None = None
    value: Any = None

    def __repr__(self) -> str:
        return f"<Found {self.plan.name}: {self.status}>"


class ResolvedSecrets(Mapping[str, Any]):
    """The declared secrets by name, each of its declared type; an absent optional one is None."""

    def __init__(self, found: Mapping[str, Found]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Any:
        return self._found[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def as_env(self) -> dict[str, str]:
        """Return the text of every secret that is there, by name: an environment's variables."""
        return {name: found.text for name, found in self._found.items() if found.text is not None}

    def plans(self) -> dict[str, SecretPlan]:
        """Return the declarations by name."""
        return {name: found.plan for name, found in self._found.items()}

    def __repr__(self) -> str:
        masked = ", ".join(
            f"{name}={'None' if found.text is None else '****'}" for name, found in self._found.items()
        )
        return f"<ResolvedSecrets {masked}>"

    __str__ = __repr__


def selected(plan: Plan, group: str | None = None) -> dict[str, SecretPlan]:
    """Return the declarations of `group`, or all.

    Raises:
        ValidationError: No declaration has this group.
    """
    if group is None:
        return dict(plan.secrets)
    chosen = {name: secret for name, secret in plan.secrets.items() if group in secret.groups}
    if not chosen:
        groups = sorted({one for secret in plan.secrets.values() for one in secret.groups})
        raise ValidationError(
            f"no declared secret is in the group {group!r}",
            hint=f"there are: {', '.join(groups) or 'no groups'}",
        )
    return chosen


def resolve(registry: SecretProviderRegistry, plan: Plan, *, group: str | None = None) -> ResolvedSecrets:
    """Return the declared secrets.

    Raises:
        ValidationError: Secrets are missing or wrong; the message names every one.
        PermissionDeniedError: The backend refuses one (likewise: unavailable, not logged in).
    """
    found = find_all(registry, selected(plan, group))
    wrong = [one for one in found.values() if one.status in {"missing", "invalid"}]
    for one in found.values():
        if one.status not in {"ok", "missing", "invalid"} and one.error is not None:
            raise one.error
    if wrong:
        lines = "; ".join(f"{one.plan.name}: {one.problem}" for one in wrong)
        raise ValidationError(f"{len(wrong)} of {len(found)} declared secrets are missing or wrong: {lines}")
    return ResolvedSecrets(found)


def find_all(registry: SecretProviderRegistry, secrets: Mapping[str, SecretPlan]) -> dict[str, Found]:
    """Return every one of `secrets` as it is found, whatever is wrong with it."""
    values, failures = _read([secret.key for secret in secrets.values()], registry)
    return {name: _found(secret, values, failures) for name, secret in secrets.items()}


def mark_due(
    registry: SecretProviderRegistry, found: Mapping[str, Found], now: datetime | None = None
) -> dict[str, Found]:
    """Return `found` with the status `due` for good secrets that are older than their `rotate_days`.

    Args:
        registry: Asked for the age of those secrets that have `rotate_days`, and of no others.
        found: Secrets as `find_all` returned them.
        now: An aware time; without it the present.
    """
    at = now or datetime.now(UTC)
    return {name: _aged(registry, one, at) for name, one in found.items()}


def _aged(registry: SecretProviderRegistry, one: Found, now: datetime) -> Found:
    days = one.plan.rotate_days
    if days is None or one.status != "ok" or one.text is None:
        return one
    try:
        updated = registry.describe_secret(one.plan.key).updated_at
    except (UnsupportedOperationError, SecretNotFoundError):  # the latter: it has its default
        return one
    except StrongroomError as error:
        return replace(one, status=_status(error), problem=str(error), error=error)
    if updated is None or now - updated < timedelta(days=days):
        return one
    age = (now - updated).days
    return replace(one, status="due", problem=f"it is {age} days old, to be rotated after {days}")


def _read(
    keys: list[str], registry: SecretProviderRegistry
) -> tuple[dict[str, str], dict[str, StrongroomError]]:
    unique = list(dict.fromkeys(keys))
    try:
        return registry.get_secrets(unique), {}
    except StrongroomError:
        pass  # asked again one by one below, so that each key has its own answer
    values: dict[str, str] = {}
    failures: dict[str, StrongroomError] = {}
    for key in unique:
        try:
            values[key] = registry.get_secret(key)
        except SecretNotFoundError:
            continue
        except StrongroomError as error:
            failures[key] = error
    return values, failures


def _found(secret: SecretPlan, values: Mapping[str, str], failures: Mapping[str, StrongroomError]) -> Found:
    error = failures.get(secret.key)
    if error is not None:
        return Found(secret, _status(error), str(error), error)
    text = values.get(secret.key)
    if text is not None and secret.field is not None:
        try:
            text = member_of(text, secret.key, secret.field)
        except SecretNotFoundError:
            text = None
        except ValidationError as wrong:
            return Found(secret, "invalid", str(wrong), wrong)
    if text is None:
        text = secret.default
    if text is None:
        if not secret.required:
            return Found(secret, "ok")
        field = f" field {secret.field!r}" if secret.field is not None else ""
        problem = f"missing: nothing is stored at {secret.key!r}{field}"
        return Found(secret, "missing", problem, SecretNotFoundError(secret.key))
    value, problem_ = check_text(secret, text)
    if problem_ is not None:
        return Found(secret, "invalid", problem_)
    return Found(secret, "ok", text=text, value=value)


def _status(error: StrongroomError) -> Status:
    if isinstance(error, PermissionDeniedError | AuthenticationError):
        return "denied"
    return "unavailable" if isinstance(error, BackendUnavailableError) else "invalid"


def check_text(secret: SecretPlan, text: str) -> tuple[Any, str | None]:
    """Return the typed value of `text` and None, or None and what is wrong with it."""
    problem = _broken_rule(secret, text)
    if problem is not None:
        return None, problem
    try:
        return _READERS[secret.type](text), None
    except (ValueError, RecursionError):
        return None, f"it is no {secret.type}"


def _broken_rule(secret: SecretPlan, text: str) -> str | None:
    if secret.min_length is not None and len(text) < secret.min_length:
        return f"it has {len(text)} characters, at least {secret.min_length} are required"
    if secret.max_length is not None and len(text) > secret.max_length:
        return f"it has {len(text)} characters, at most {secret.max_length} are allowed"
    if secret.pattern is not None and re.fullmatch(secret.pattern, text) is None:
        return f"it does not match the pattern {secret.pattern}"
    if secret.one_of is not None and text not in secret.one_of:
        return f"it is none of the {len(secret.one_of)} values allowed"
    if text.casefold() in {word.casefold() for word in secret.forbid}:
        return "it is one of the forbidden values"
    return None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[text.lower()]


def _url(text: str) -> str:
    parts = urlsplit(text)
    _ = parts.port  # raises where it is no number
    if not parts.scheme or not (parts.netloc or parts.path) or re.search(r"\s", text):
        raise ValueError
    return text


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError
    return text


def _port(text: str) -> int:
    port = _integer(text)
    if not 0 < port <= _MAX_PORT:
        raise ValueError
    return port


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        return base64.b64decode(text.translate({45: 43, 95: 47}) + "=" * (-len(text) % 4), validate=True)


def _pem(text: str) -> str:
    if not re.fullmatch(rf"(?:{_PEM.pattern})+", text, re.DOTALL):
        raise ValueError
    return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "boolean": _boolean,
    "url": _url,
    "email": _email,
    "port": _port,
    "json": json.loads,
    "base64": _base64,
    "pem": _pem,
}
