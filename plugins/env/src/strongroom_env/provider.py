"""The provider for environment variables."""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping

from strongroom.errors import ConfigurationError, SecretNotFoundError, ValidationError, show_key
from strongroom.keys import check_key, check_prefix, check_value, distinct, is_reserved
from strongroom.providers import BaseProvider

from strongroom_env.names import key_of, name_of

__all__ = ["EnvSecretProvider"]


class EnvSecretProvider(BaseProvider):
    """Secrets in environment variables whose names start with `prefix`.

    Writes and deletes change the environment of this process and of those it starts later, nothing else.

    Args:
        prefix: What the names of all variables start with. With an empty prefix every variable of the
            environment whose name some key has is a secret.
        environ: The variables, `os.environ` by default.

    Raises:
        ConfigurationError: `prefix` holds `=`, NUL or a lone surrogate.
    """

    type_name = "env"

    def __init__(
        self, prefix: str = "APP_SECRET_", *, environ: MutableMapping[str, str] | None = None
    ) -> None:
        if not isinstance(prefix, str) or "=" in prefix or "\0" in prefix or _has_surrogate(prefix):
            raise ConfigurationError(
                f"the prefix {show_key(prefix)} cannot begin a variable's name",
                provider=self.type_name,
                hint="use letters, digits and '_', as in APP_SECRET_",
            )
        self._prefix = prefix
        self._environ = os.environ if environ is None else environ

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"prefix": self._prefix}

    def get_secret(self, key: str) -> str:
        value = self._environ.get(self._name(key))
        if value is None:
            raise self._not_found(key)
        return self._text(key, value)

    def set_secret(self, key: str, value: str) -> None:
        name = self._name(key)
        if "\0" in check_value(value, key):
            raise ValidationError(
                f"the value for {show_key(key)} holds NUL, which no environment variable can",
                key=key,
                provider=self.type_name,
                hint="store binary data as base64 text",
            )
        try:
            self._environ[name] = value
        except UnicodeEncodeError:
            pass  # its `object` is the value: raised below, where it is no longer the context
        else:
            return
        raise ValidationError(
            f"the value for {show_key(key)} holds characters that this process's encoding lacks",
            key=key,
            provider=self.type_name,
            hint="run Python in UTF-8 mode (PYTHONUTF8=1)",
        )

    def delete_secret(self, key: str) -> None:
        name = self._name(key)
        try:
            del self._environ[name]
        except KeyError:
            missing = self._not_found(key)
        else:
            return
        raise missing

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        start = len(self._prefix)
        # `list` takes the names in one step; other threads may change the environment meanwhile.
        names = [name[start:] for name in list(self._environ) if name.startswith(self._prefix)]
        keys = (key for key in map(key_of, names) if key is not None)
        return sorted(key for key in keys if key.startswith(prefix) and not is_reserved(key))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        found = {key: self._environ.get(self._name(key)) for key in distinct(keys)}
        return {key: self._text(key, value) for key, value in found.items() if value is not None}

    def variables(self) -> list[str]:
        """Return the names of the variables that are secrets; `run` hands over the declared ones alone.

        With an empty prefix nothing tells them from the rest of the environment: then there are none.
        """
        return [name for name in list(self._environ) if self._prefix and name.startswith(self._prefix)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} prefix={self._prefix!r}>"

    def _name(self, key: str) -> str:
        return self._prefix + name_of(check_key(key))

    def _text(self, key: str, value: str) -> str:
        # Bytes that are not text come out of `os.environ` as lone surrogates (PEP 383).
        if _has_surrogate(value):
            raise ValidationError(
                f"the variable of {show_key(key)} holds bytes that are not text",
                key=key,
                provider=self.type_name,
                hint="store binary data as base64 text",
            )
        return value

    def _not_found(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(
            key, provider=self.type_name, hint=f"set the environment variable {self._name(key)}"
        )


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
