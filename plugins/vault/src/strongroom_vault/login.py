"""The token of a provider: how it logs in, and when the token is renewed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from strongroom.deadlines import held_within
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
)
from strongroom.parallel import renew_after_fork
from strongroom.plugins.credentials import newest

from strongroom_vault.errors import no_server, part
from strongroom_vault.refusals import refusals_of

Send = Callable[..., Any]

_KUBERNETES_JWT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
LOGIN = "login"
_LEAST_SECONDS = 1.0
_MOST_SECONDS = 60.0


def check_auth(auth: Mapping[str, Any]) -> dict[str, Any]:
    """Return `auth` as a dict, or raise `ConfigurationError`; no file is read and no request made."""
    from strongroom_vault.auth_methods import why_not_auth

    if not isinstance(auth, Mapping):
        kind = type(auth).__name__
        raise ConfigurationError(f"vault: auth must be a mapping, got a {kind}", provider="vault")
    wrong = why_not_auth(auth)
    if wrong is not None:
        raise ConfigurationError(f"vault: {wrong}", provider="vault")
    return dict(auth)


class Login:
    """The token of a provider. One thread logs in, and the others wait, or use a token that is still good."""

    def __init__(self, token: str | None, auth: Mapping[str, Any] | None) -> None:
        self._auth = check_auth(auth) if auth is not None else None
        self._given = token
        self._token = token
        self._renew_at: float | None = None
        self._ends_at: float | None = None
        self._renewable = False
        self._uses: int | None = None
        self.lasts = False
        """Whether the token in use is known never to expire."""
        self._begin_again()
        renew_after_fork(self, Login._begin_again)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()  # a signal handler may log in in the middle of a login

    def can_replace(self, dead: str) -> bool:
        """Return whether a login, or the reference of the token, may give another token than `dead`."""
        return self._auth is not None or self._token != dead or newest(self._given) != dead

    def present(self) -> tuple[str | None, float | None]:
        """Return the token in use, and when it ends on the monotonic clock; None if that is unknown."""
        return self._token, self._ends_at

    def is_at(self, token: str) -> bool:
        """Return whether `token` is in use."""
        return self._token == token

    @property
    def has_few_uses(self) -> bool:
        """Whether the token has a limited number of uses, of which each request takes one."""
        return self._uses is not None

    def token(self, send: Send, call: Any, *, counts: bool = True) -> str:
        """Return a good token, logging in or renewing where needed.

        Args:
            send: Makes a request.
            call: The call, with its deadline.
            counts: Whether the request that follows takes a use of the token away.
        """
        token = self._token
        if token and self._uses is None and (self._renew_at is None or time.monotonic() < self._renew_at):
            return token
        if self._auth is None:
            # There is none: what its reference names was empty at the last look.
            self._log_in(send, call)
            return self._in_use()
        if token and self._uses is None and self._is_good():
            if self._lock.acquire(blocking=False):  # else another thread is renewing it
                try:
                    if self._renew_at is not None and time.monotonic() >= self._renew_at:
                        self._renew(send, call)
                    token = self._token
                finally:
                    self._lock.release()
            if token:
                return token
        with _within(self._lock, call):
            if not self._token or not self._is_good() or self._uses == 0:
                self._log_in(send, call)
            if self._uses is not None and counts:
                self._uses -= 1
            return self._in_use()

    def replace(self, dead: str, send: Send, call: Any) -> str:
        """Return a token other than `dead`; the first thread that asks logs in for all."""
        with _within(self._lock, call):
            if self._token == dead or not self._token or self._uses == 0:
                self._token = None
                self._log_in(send, call)
            if self._uses is not None:
                self._uses -= 1
            return self._in_use()

    def _in_use(self) -> str:
        token = self._token
        if token:
            return token
        raise AuthenticationError(
            "vault: no token",
            provider="vault",
            hint="give `token` or `auth`; a file or variable that one of them names must not be empty",
        )

    def _is_good(self) -> bool:
        return self._ends_at is None or time.monotonic() < self._ends_at

    def _renew(self, send: Send, call: Any) -> None:
        """Renew the token, or replace it; if both fail, it is used to its end."""
        failed = self._not_renewed(send) if self._renewable else None
        if self._renewable and failed is None:
            return
        if failed is None or not failed.retryable or _says_no_more(failed):
            # The server does not renew it any more.
            try:
                self._log_in(send, call, share=2)  # the request still needs time if no answer comes
            except StrongroomError as error:
                failed = error
            else:
                return
        now = time.monotonic()
        left = (self._ends_at or now) - now
        if left <= 0:
            self._log_in(send, call)
            return
        self._renew_at = now + min(max(left / 4, _LEAST_SECONDS), _MOST_SECONDS, left)
        import logging

        log = logging.getLogger("strongroom.vault")
        log.warning(
            "the token is not renewed (%s); it is used for the %d s for which it is valid", failed, left
        )

    def _not_renewed(self, send: Send) -> StrongroomError | None:
        """Return why the token was not renewed; None if it was, for more than a moment."""
        began = time.monotonic()
        try:
            # A quarter of the time, so that the request itself still has time if no answer comes.
            reply = send(
                "post",
                "/v1/auth/token/renew-self",
                token=self._token,
                json={},
                what="renew the token",
                share=4,
            )
            if reply is None:
                # 204: the user who had logged in with it is gone.
                return AuthenticationError("vault: renew the token: the server has nothing to renew")
            before, self._uses = self._uses, None
            seconds = self._keep(reply, began)
            self._uses = before
        except StrongroomError as error:
            return error
        if seconds <= _LEAST_SECONDS:
            return AuthenticationError("vault: renew the token: it has reached its maximum age")
        return None

    def _log_in(self, send: Send, call: Any, *, share: int = 1) -> None:
        """Get a new token, within one `share`th of the time of a call."""
        if self._auth is None:
            self._token, self.lasts = newest(self._given), False
            return
        # The newest credentials: a login with outdated ones counts towards the lock of the role or user.
        auth = newest(self._auth)
        method = auth["method"]
        if method == "token_file":
            self._token, self._renew_at, self._ends_at, self._uses = _read(auth["path"]), None, None, None
            self.lasts = False
            return
        mount = auth.get("mount_point", method)
        path = f"/v1/auth/{quote(str(mount))}/login"
        if method == "userpass":
            path, body = f"{path}/{quote(str(auth['username']), safe='')}", {"password": auth["password"]}
        elif method == "approle":
            body = {name: auth[name] for name in ("role_id", "secret_id") if name in auth}
            if "secret_id_path" in auth:
                body["secret_id"] = _read(auth["secret_id_path"])
        else:
            jwt = auth.get("jwt") or _read(auth.get("jwt_path", _KUBERNETES_JWT))
            body = {"role": auth["role"], "jwt": jwt}
        past = refusals_of(send.server, method, path, body)  # type: ignore[attr-defined]  # the client's own
        with _within(past.lock, call):
            past.check()
            before = time.monotonic()
            try:
                reply = send("post", path, token=None, json=body, what=LOGIN, share=share)
            except AuthenticationError as error:
                past.note(error)
                raise
            past.forget()
            self._keep(reply, before)

    def _keep(self, reply: Any, before: float) -> float:
        got = part(reply, "auth")
        token = part(reply, "auth", "client_token", kind=str)
        seconds, uses = _count(got, "lease_duration"), _count(got, "num_uses")
        self._token, self._renewable = token, bool(got.get("renewable"))
        self._ends_at = before + seconds if seconds else None
        self.lasts = not seconds
        self._uses = int(uses) if uses else None
        # A renewal is a use, too, and the last use ends the token.
        self._renewable = self._renewable and self._uses is None
        wait = seconds if self._uses is not None else seconds * 2 / 3
        self._renew_at = before + wait if seconds else None
        return seconds


def _count(got: Mapping[str, Any], name: str) -> float:
    """Return a number of an answer, 0 where it has none."""
    found = got.get(name) or 0
    if isinstance(found, (int, float)) and found >= 0:
        return float(found)
    raise no_server()


@contextmanager
def _within(lock: Any, call: Any) -> Iterator[None]:
    with held_within(lock, max(call.left(), 0)) as held:
        if not held:
            raise BackendUnavailableError(
                "vault: login: no answer before the deadline: another thread's login has not ended",
                provider="vault",
                hint="check that the server answers logins, or raise `timeout`",
            )
        yield


def _says_no_more(error: StrongroomError) -> bool:
    # With 500: the role or the user is gone, or the token is at its greatest age.
    return "during renewal" in error.message or "max TTL" in error.message


def _read(path: Any) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib takes long to import
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__  # raised below, where the file's content is no longer in the context
    raise ConfigurationError(
        f"vault: cannot read {path}: {kind}",
        provider="vault",
        hint="correct the path in `auth`, or let this user read it",
    )
