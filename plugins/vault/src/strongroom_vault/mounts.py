"""Where a KV engine is mounted, and which version of it."""

from __future__ import annotations

import time
from typing import Any

from strongroom.errors import (
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    show_key,
)

from strongroom_vault.errors import body_of, part, says_other_version
from strongroom_vault.names import url_path

_KINDS = ("kv", "generic", "cubbyhole")
_RECHECK_SECONDS = 60.0


class Mount:
    """A mount's path and version; the server is asked once, and again if its answers do not fit."""

    def __init__(self, client: Any, name: str, given: int | None) -> None:
        if given is not None and (isinstance(given, bool) or given not in (1, 2)):
            shown = given if isinstance(given, int) else show_key(given)
            raise ConfigurationError(
                f"vault: kv_version must be 1 or 2, got {shown}",
                provider="vault",
                hint="leave it out, and the server is asked",
            )
        self._client = client
        self.name = name.strip("/")
        self._given = given
        self.known: int | None = given
        self._checked: float | None = None

    def version(self, call: Any) -> int:
        """Return the KV version.

        Raises:
            ConfigurationError: An engine of another kind is mounted there.
        """
        if self.known is None:
            # If the server does not say, the request itself will show what is wrong.
            self.known = self._asked(call)
        return self.known or 2

    def path(self, kind: str, rest: str, call: Any) -> str:
        """Return the path of `rest`, which is quoted, in the API of `kind` (data, metadata)."""
        middle = f"/{kind}" if self.version(call) == 2 else ""  # noqa: PLR2004  # KV's version
        return f"/v1/{url_path(self.name)}{middle}/{rest}"

    def was_mistaken(self, error: StrongroomError, call: Any) -> bool:
        """Return whether "not found" came from a wrong version, and correct that.

        The mount may have been upgraded, or made again with another version, while this program runs.

        Raises:
            ConfigurationError: The option `kv_version` is wrong; or the mount is not a KV engine.
        """
        used, now = self.version(call), None
        if says_other_version(error):
            now = 2
        elif used == 2 and _says_nothing(error):  # noqa: PLR2004  # KV's version
            now = self._rechecked(call)
        if now is None or now == used:
            return False
        if self._given is not None:
            raise ConfigurationError(
                f"vault: the mount {self.name} is of KV version {now}, kv_version says {self._given}",
                provider="vault",
                hint="correct kv_version, or leave it out",
            )
        self.known = now
        return True

    def asked_again(self, call: Any) -> int:
        """Return the version that the server reports now."""
        if self._given is None:
            self.known = self._asked(call) or self.known
        return self.version(call)

    def _rechecked(self, call: Any) -> int | None:
        now = time.monotonic()
        if self._checked is not None and now - self._checked < _RECHECK_SECONDS:
            return None
        try:
            return self._asked(call)
        except ConfigurationError:
            raise
        except StrongroomError:
            return None  # "not found" is what the server said; this was only to make sure

    def _asked(self, call: Any) -> int | None:
        path = f"/v1/sys/internal/ui/mounts/{url_path(self.name)}"
        self._checked = time.monotonic()
        try:
            reply = self._client.call("get", path, "find the KV version", call=call, counts=False)
        except PermissionDeniedError:
            return None
        data = part(reply, "data")
        kind = data.get("type")
        if isinstance(kind, str) and not any(known in kind for known in _KINDS):
            raise ConfigurationError(
                f"vault: the mount {self.name} is a {kind} engine and not a KV engine",
                provider="vault",
                hint="check mount_point",
            )
        options = data.get("options")
        return 2 if isinstance(options, dict) and str(options.get("version")) == "2" else 1


def _says_nothing(error: StrongroomError) -> bool:
    # For a deleted version, the server returns its metadata.
    return isinstance(error, SecretNotFoundError) and not body_of(getattr(error, "raw", None)).get("data")
