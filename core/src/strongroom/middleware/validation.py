"""Rules for keys and values, checked before a write and after a read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError, InvalidKeyError, StrongroomError, ValidationError, show_key
from strongroom.keys import check_key, check_value, distinct
from strongroom.middleware.base import Middleware

if TYPE_CHECKING:
    from strongroom.providers import Lease

__all__ = ["ValidationMiddleware"]


_KEYS_REMEMBERED = 1024


class ValidationMiddleware(Middleware):
    """Refuses keys and values that break the rules given; without rules it lets everything pass.

    A value that is read and breaks a rule is refused too: it was not written through this pipeline. Lists and
    deletes are not checked, so that secrets that break the rules can be found and removed.

    Args:
        inner: The provider.
        key_pattern: A regular expression that the whole key must match.
        min_length: Characters that a value has at least.
        max_length: Characters that a value has at most.
        forbid: Values that are refused, whatever their case.
        json_schema: A JSON Schema; the value must be JSON text that it accepts. Needs the package
            `jsonschema`.

    Raises:
        ConfigurationError: A rule itself is wrong.
    """

    def __init__(
        self,
        inner: Any,
        *,
        key_pattern: str | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        forbid: Iterable[str] = (),
        json_schema: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(inner)
        self._why_not_key = None if key_pattern is None else _key_check(key_pattern)
        if min_length is not None and max_length is not None and min_length > max_length:
            raise ConfigurationError(f"validation: min_length {min_length} is above max_length {max_length}")
        self._min = min_length or 0
        self._max = max_length
        words = (forbid,) if isinstance(forbid, str) else forbid  # one word, and not its letters
        self._forbidden = frozenset(word.casefold() for word in words)
        self._schema: Any = _schema_validator(json_schema) if json_schema is not None else None
        self._get = self.inner.get_secret

    @property
    def has_value_rules(self) -> bool:
        """Whether it looks at values, and not at keys alone."""
        return bool(self._min or self._max is not None or self._forbidden or self._schema is not None)

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        self._check_key(key)
        value = self._get(key)
        self._check_value(key, value)
        return value

    def set_secret(self, key: str, value: str) -> None:
        self.check(key, value)
        self.inner.set_secret(key, value)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = distinct(keys)
        for key in asked:
            self._check_key(key)
        found = self.inner.get_secrets(asked)
        for key, value in found.items():
            self._check_value(key, value)
        return found

    def set_secrets(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            self.check(key, value)
        self.inner.set_secrets(values)

    def get_secret_version(self, key: str, version: str) -> str:
        self._check_key(key)
        value = self.inner.get_secret_version(key, version)
        self._check_value(key, value)
        return value

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        self.check(key, value)
        return self.inner.set_secret_if(key, value, expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        self.check(key, value)
        return self.inner.stage_secret(key, value)

    def issue_lease(self, key: str) -> Lease:
        self._check_key(key)
        lease = self.inner.issue_lease(key)
        try:
            self._check_value(key, lease.as_json())
        except ValidationError:
            with suppress(StrongroomError):  # it then ends by itself; the broken rule is raised
                self.inner.revoke_lease(lease)
            raise
        return lease

    def check(self, key: str, value: str) -> None:
        """Raise what a write of `value` would raise: `InvalidKeyError`, `TypeError`, `ValidationError`."""
        self._check_key(key)
        self._check_value(key, check_value(value, key))

    def _check_key(self, key: str) -> None:
        if self._why_not_key is None:
            return
        why = self._why_not_key(check_key(key))
        if why is not None:
            raise InvalidKeyError(key, f"invalid key {show_key(key)}: {why}")

    def _check_value(self, key: str, value: str) -> None:
        length = len(value)
        if length < self._min:
            raise _broken(key, f"it has {length} characters, at least {self._min} are required")
        if self._max is not None and length > self._max:
            raise _broken(key, f"it has {length} characters, at most {self._max} are allowed")
        if self._forbidden and value.casefold() in self._forbidden:
            raise _broken(key, "it is one of the forbidden values")
        if self._schema is not None:
            self._check_json(key, value)

    def _check_json(self, key: str, value: str) -> None:
        try:
            data = json.loads(value, parse_constant=_no_json)
        except (ValueError, RecursionError):
            is_json = False  # json's error holds the value: raised below, where it is no longer the context
        else:
            is_json = True
        if not is_json:
            raise _broken(key, "it is not JSON text")
        try:
            broken = next(self._schema.iter_errors(data), None)
        except RecursionError:
            raise _broken(key, "it, or the schema, is nested too deeply") from None
        if broken is not None:
            from strongroom.plugins.patterns import place

            # jsonschema quotes the value in its messages: only the place and the rule are shown.
            raise _broken(key, f"{place(broken.absolute_path)} breaks the schema's {broken.validator!r}")


def _no_json(_name: str) -> Any:
    raise ValueError  # NaN and Infinity are Python's, not JSON's


def _broken(key: str, why: str) -> ValidationError:
    return ValidationError(f"the value of {show_key(key)} is not valid: {why}", key=key)


def _key_check(pattern: str) -> Callable[[str], str | None]:
    from strongroom.plugins.patterns import compiled, mismatch  # few specs have such a rule, or the next

    try:
        compiled(pattern)
    except ValueError as error:
        raise ConfigurationError(f"validation: key_pattern is not a regular expression: {error}") from error
    return lru_cache(maxsize=_KEYS_REMEMBERED)(partial(mismatch, pattern))


def _schema_validator(rules: Mapping[str, Any]) -> Any:
    from strongroom.plugins.patterns import schema_validator

    try:
        return schema_validator(rules)
    except ImportError as error:
        raise ConfigurationError(
            "validation: json_schema needs the package jsonschema", hint="pip install jsonschema"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"validation: json_schema: {error}") from None
