"""Keys with a prefix put before them, or taken off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strongroom.errors import ConfigurationError, InvalidKeyError, show_key
from strongroom.keys import check_key, check_prefix, is_reserved
from strongroom.middleware.renaming import RenamingMiddleware

__all__ = ["PrefixMiddleware", "StripPrefixMiddleware"]


class PrefixMiddleware(RenamingMiddleware):
    """Puts `prefix` before every key, and removes it again in lists, descriptions and errors.

    It consists of whole segments: `team-` before `.rotation/db` would make a name that is no longer reserved.

    Raises:
        InvalidKeyError: The prefix breaks the rules for keys.
        ConfigurationError: It does not end with `/`, or has the segment `.rotation`, which no list shows.
    """

    type_name = "prefix"

    def __init__(self, inner: Any, prefix: str) -> None:
        super().__init__(inner)
        check_key(f"{check_prefix(_whole(prefix))}x")
        self.prefix = prefix

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {"prefix": self.prefix}

    def stored(self, key: str) -> str:
        try:
            return check_key(self.prefix + check_key(key))
        except InvalidKeyError as error:
            if error.key == key:
                raise
            raise InvalidKeyError(
                key, f"invalid key {show_key(key)}: too long with the prefix before it"
            ) from None

    def own_names(self) -> Callable[[str], str | None]:
        return self._own_name

    def _own_name(self, stored: str) -> str | None:
        # What is left must be a key: nothing is left of a name that equals the prefix.
        own = stored[len(self.prefix) :] if stored.startswith(self.prefix) else ""
        return own if own and own[0] != "/" else None

    def list_secrets(self, prefix: str = "") -> list[str]:
        found = self.listed(
            self.prefix + check_prefix(prefix), lambda stored: stored.removeprefix(self.prefix)
        )
        return [own for own in map(self._own_name, found) if own is not None]


class StripPrefixMiddleware(RenamingMiddleware):
    """Takes `prefix` off every key, and puts it back in results, for a route with `strip_prefix`.

    Raises:
        InvalidKeyError: The prefix breaks the rules for keys.
        ConfigurationError: It does not end with `/`, or has the segment `.rotation`, which no list shows.
    """

    type_name = "strip-prefix"

    def __init__(self, inner: Any, prefix: str) -> None:
        super().__init__(inner)
        self.prefix = check_prefix(_whole(prefix))

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {"prefix": self.prefix}

    def stored(self, key: str) -> str:
        if not check_key(key).startswith(self.prefix) or len(key) == len(self.prefix):
            raise InvalidKeyError(key, f"invalid key {show_key(key)}: it is empty without the route's prefix")
        return check_key(key[len(self.prefix) :])

    def own_names(self) -> Callable[[str], str | None]:
        return lambda stored: self.prefix + stored

    def list_secrets(self, prefix: str = "") -> list[str]:
        if check_prefix(prefix).startswith(self.prefix):
            rest = prefix[len(self.prefix) :]
        elif self.prefix.startswith(prefix):
            rest = ""
        else:
            return []
        return [self.prefix + key for key in self.listed(rest, lambda stored: self.prefix + stored)]


def _whole(prefix: str) -> str:
    if not prefix.endswith("/"):
        raise ConfigurationError(
            f"the prefix {show_key(prefix)} does not end with '/'",
            hint="a prefix is whole segments of a key, as in 'team/'",
        )
    if is_reserved(prefix):
        raise ConfigurationError(
            f"the prefix {show_key(prefix)} has the segment '.rotation', which is reserved"
        )
    return prefix
