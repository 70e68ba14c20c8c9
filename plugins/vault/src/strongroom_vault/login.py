"""Tokens: where they come from, and when they are renewed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from strongroom.errors import AuthenticationError, ConfigurationError
from strongroom.parallel import renew_after_fork

from strongroom_vault.errors import part

Send = Callable[..., Any]

_KUBERNETES_JWT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "token_file": ("path",),
    "approle": ("role_id",),
    "userpass": ("username", "password"),
    "kubernetes": ("role",),
    "jwt": ("role",),
}
_ALLOWED: Mapping[str, frozenset[str]] = {
    "token_file": frozenset({"path"}),
    "approle": frozenset({"role_id", "secret_id"}),
    "userpass": frozenset({"username", "password"}),
    "kubernetes": frozenset({"role", "jwt", "jwt_path"}),
    "jwt": frozenset({"role", "jwt", "jwt_path"}),
}


def check_auth(auth: Mapping[str, Any]) -> dict[str, Any]:
    """Return `auth` as a dict, or raise `ConfigurationError`; nothing is read or asked."""
    method = str(auth.get("method"))
    if method not in _NEEDS:
        known = ", ".join(_NEEDS)
        raise ConfigurationError(
            "vault: auth has no known `method`", provider="vault", hint=f"known: {known}"
        )
    given = set(auth) - {"method", "mount_point"}
    wrong = sorted(given - _ALLOWED[method]) + sorted(set(_NEEDS[method]) - given)
    if method == "jwt" and not given & {"jwt", "jwt_path"}:
        wrong.append("jwt or jwt_path")
    if wrong:
        raise ConfigurationError(
            f"vault: auth method {method}: missing or unknown: {', '.join(wrong)}", provider="vault"
        )
    return dict(auth)


class Login:
    """The token of a provider. One thread logs in, the others wait for it."""

    def __init__(self, token: str | None, auth: Mapping[str, Any] | None) -> None:
        self._auth = check_auth(auth) if auth is not None else None
        self._token = token
        self._renew_at: float | None = None
        self._renewable = False
        self._begin_again()
        renew_after_fork(self, Login._begin_again)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()  # a signal handler may log in in the middle of a login

    @property
    def can_log_in(self) -> bool:
        return self._auth is not None

    def token(self, send: Send) -> str:
        """Return a good token, logging in or renewing where needed; `send` makes the request."""
        token = self._token
        if token and (self._renew_at is None or time.monotonic() < self._renew_at):
            return token
        if self._auth is None:
            raise AuthenticationError("vault: no token", provider="vault", hint="give `token` or `auth`")
        with self._lock:
            if self._token is None or self._token == "":
                self._log_in(send)
            elif self._renew_at is not None and time.monotonic() >= self._renew_at:
                self._renew(send)
            return self._token or ""

    def replace(self, dead: str, send: Send) -> str:
        """Return a token other than `dead`; of all threads that ask, the first logs in."""
        with self._lock:
            if self._token == dead:
                self._log_in(send)
            return self._token or ""

    def _renew(self, send: Send) -> None:
        before = self._token
        if self._renewable:
            try:
                reply = send("post", "/v1/auth/token/renew-self", token=before, json={})
            except AuthenticationError:
                reply = None
            if reply is not None and self._keep(reply) > 1:
                return
        self._log_in(send)

    def _log_in(self, send: Send) -> None:
        auth = self._auth or {}
        method = auth["method"]
        if method == "token_file":
            self._token, self._renew_at = _read(auth["path"]), None
            return
        path = f"/v1/auth/{auth.get('mount_point', method)}/login"
        if method == "userpass":
            path, body = f"{path}/{auth['username']}", {"password": auth["password"]}
        elif method == "approle":
            body = {name: auth[name] for name in ("role_id", "secret_id") if name in auth}
        else:
            jwt = auth.get("jwt") or _read(auth.get("jwt_path", _KUBERNETES_JWT))
            body = {"role": auth["role"], "jwt": jwt}
        self._keep(send("post", path, token=None, json=body))

    def _keep(self, reply: Any) -> float:
        got = part(reply, "auth")
        seconds = float(got.get("lease_duration") or 0)
        self._token, self._renewable = part(got, "client_token", kind=str), bool(got.get("renewable"))
        self._renew_at = time.monotonic() + seconds * 2 / 3 if seconds else None
        return seconds


def _read(path: Any) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"vault: cannot read {path}: {type(error).__name__}", provider="vault"
        ) from None
