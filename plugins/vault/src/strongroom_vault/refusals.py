"""Refused logins, remembered for the whole process: after a few, a server locks the role for everybody."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from strongroom.errors import AuthenticationError
from strongroom.parallel import renew_after_fork
from strongroom.plugins import blake2b

LOCKING: Final = frozenset({"approle", "userpass"})
"""Methods whose users OpenBao and Vault lock: after 5 refusals, for 15 minutes, by default."""

_PAUSES: Final = (5.0, 60.0, 900.0)
"""Seconds until the same credentials are shown again, after the first, second and every later refusal: at
most 3 times in any 15 minutes."""
_OTHER_PAUSES: Final = (5.0, 15.0, 60.0)
"""For methods that lock nobody; the server may have failed to look up a JWT for a moment."""

_REFUSED: Final = (
    "check auth: method, mount and credentials; after some refused logins (5) the server locks the "
    "role or user for everybody for a while (15 minutes), and then refuses good credentials too"
)
_TOO_EARLY: Final = (
    "compare the clocks; if the JWT has neither iat nor nbf, the server takes it only shortly before its "
    "end: write iat into it, or set not_before_leeway of the role to the whole life of its tokens"
)

_KEY = os.urandom(16)
_remembered: dict[bytes, Refusals] = {}


class Refusals:
    """The refusals of one set of credentials; `lock` is held during a login."""

    def __init__(self, pauses: tuple[float, ...]) -> None:
        self._begin_again()
        renew_after_fork(self, Refusals._begin_again)
        self._pauses = pauses
        self._count = 0
        self._until = 0.0
        self._message = ""

    def _begin_again(self) -> None:
        """Make a new lock in a forked child; refusals stay known."""
        self.lock = threading.RLock()

    def check(self) -> None:
        """Raise `AuthenticationError` if these credentials were refused a short while ago."""
        left = self._until - time.monotonic()
        if self._count and left > 0:
            raise refusal(self._message, f"not tried again for {max(round(left), 1)} s")

    def note(self, error: AuthenticationError) -> None:
        """Remember that the server refused the login."""
        self._until = time.monotonic() + self._pauses[min(self._count, len(self._pauses) - 1)]
        self._count += 1
        self._message = error.message

    def forget(self) -> None:
        """Forget the refusals, because the server accepted the credentials."""
        self._count, self._until = 0, 0.0


def refusals_of(server: str, method: str, path: str, body: Mapping[str, Any]) -> Refusals:
    """Return the refusals of these credentials at this server; changed credentials have none."""
    what = json.dumps([server, path, body], sort_keys=True, default=str).encode()
    name = blake2b(what, key=_KEY, digest_size=16).digest()
    refusals = _remembered.get(name)
    if refusals is None:
        _prune()
        made = Refusals(_PAUSES if method in LOCKING else _OTHER_PAUSES)
        refusals = _remembered.setdefault(name, made)
    return refusals


def refusal(said: str, note: str = "") -> AuthenticationError:
    """Return the error for a login that the server refused."""
    return AuthenticationError(
        f"{said} ({note})" if note else said,
        provider="vault",
        hint=_TOO_EARLY if "token not yet valid" in said else _REFUSED,
    )


def _prune() -> None:
    # A JWT in a file changes every hour, so old refusals are dropped.
    if len(_remembered) >= 64:  # noqa: PLR2004  # more than a process has logins
        now = time.monotonic()
        for name, one in list(_remembered.items()):
            if one._until + _PAUSES[-1] < now:  # noqa: SLF001  # its own module
                _remembered.pop(name, None)
