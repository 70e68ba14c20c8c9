"""Requests to one server: token, deadline, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from strongroom.deadlines import check_limits
from strongroom.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    StrongroomError,
    ThrottledError,
)
from strongroom.parallel import forks_wait, never_collect, renew_after_fork

from strongroom_vault.errors import says_denied, says_upgrading, translate, unavailable
from strongroom_vault.login import Login

_UPGRADE_PAUSE_SECONDS = 0.05


_whole_ends: ContextVar[float | None] = ContextVar("strongroom_vault_whole_ends", default=None)
"""When the list or the batch that is under way has to end, of the monotonic clock."""


def client_of(
    url: str,
    login: Login,
    *,
    namespace: str | None,
    verify: bool | str | Path,
    client_cert: str | Path | None,
    client_key: str | Path | None,
    timeout: float,
    max_connections: int,
    proxies: Mapping[str, str] | None,
) -> VaultClient:
    """Return a client by the options that everything here has; it makes no request before the first call."""
    wrong = [
        what
        for bad, what in (
            (not url, "url is empty"),
            (bool(client_key) and not client_cert, "client_key without client_cert"),
        )
        if bad
    ]
    if wrong:
        raise ConfigurationError(f"vault: {', '.join(wrong)}", provider="vault")
    check_limits("vault", timeout=timeout, counts={"max_connections": max_connections})
    cert = (str(client_cert), str(client_key)) if client_cert and client_key else client_cert
    options = {
        "namespace": namespace,
        "verify": verify if isinstance(verify, bool) else str(verify),
        "cert": str(cert) if isinstance(cert, Path) else cert,
        "connections": max_connections,
        "proxies": proxies,
    }
    return VaultClient(url, login, timeout, options)


class VaultClient:
    """hvac's adapter under our deadline; it is made at the first request."""

    def __init__(self, url: str, login: Login, timeout: float, options: dict[str, Any]) -> None:
        self.url, self.login, self.timeout = url, login, timeout
        self._options = options
        self._parts: tuple[Any, Any] | None = None
        self._begin_again()
        renew_after_fork(self, VaultClient._begin_again)

    def _begin_again(self) -> None:
        """Leave the connections to the parent of a forked child, and with them what watches over them."""
        never_collect(self._parts)
        self._parts = None
        self._lock = threading.Lock()

    def call(self, method: str, path: str, what: str, key: str | None = None, **kwargs: Any) -> Any:
        """Return the reply, with one new login where the token has died."""
        self._made()
        from strongroom_vault.transport import Call

        call = kwargs.pop("call", None) or Call(self.timeout)

        def send(verb: str, where: str, *, token: str | None, **more: Any) -> Any:
            about = None if where != path else key
            return self._send(
                call, verb, where, token, what="login" if about is None else what, key=about, **more
            )

        def ask(token: str) -> Any:
            return self._send(call, method, path, token, what=what, key=key, **kwargs)

        token = self.login.token(send)
        try:
            return ask(token)
        except PermissionDeniedError as error:
            if says_denied(error) or self._alive(call, token):
                raise
        if self.login.can_log_in:
            newer = self.login.replace(token, send)
            try:
                return ask(newer)
            except PermissionDeniedError as error:
                # A file of a token may hold one that has died as well.
                if says_denied(error) or self._alive(call, newer):
                    raise
        raise AuthenticationError(
            f"vault: {what}: the token is not good (any more)",
            key=key,
            provider="vault",
            hint="give a new token, or `auth` so that it is renewed",
        )

    def new_call(self) -> Any:
        """Return a deadline that several requests share."""
        self._made()
        from strongroom_vault.transport import Call

        end = _whole_ends.get()
        return Call(self.timeout if end is None else min(self.timeout, end - time.monotonic()))

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Let every call of the block end before `seconds` have passed; None sets no such bound."""
        token = _whole_ends.set(None if seconds is None else time.monotonic() + seconds)
        try:
            yield
        finally:
            _whole_ends.reset(token)

    def close(self) -> None:
        with self._lock:
            parts, self._parts = self._parts, None
        if parts is not None:
            parts[1].close()

    def _alive(self, call: Any, token: str) -> bool:
        # The server says 403 to a dead token and to a missing permission alike.
        try:
            self._send(call, "get", "/v1/auth/token/lookup-self", token, what="look up the token", key=None)
        except PermissionDeniedError:
            return False
        return True

    def _made(self) -> tuple[Any, Any]:
        parts = self._parts
        if parts is None:
            with forks_wait(), self._lock:
                parts = self._parts = self._parts or self._make()
        return parts

    def _make(self) -> tuple[Any, Any]:
        from hvac.adapters import JSONAdapter

        from strongroom_vault.transport import DeadlineSession

        given = dict(self._options)
        namespace = given.pop("namespace")
        session = DeadlineSession(**given)
        # Everything is given, so that hvac looks at no VAULT_* variable and no ~/.vault-token.
        adapter = JSONAdapter(
            base_uri=self.url,
            token=None,
            namespace=namespace,
            session=session,
            verify=given["verify"],
            cert=given["cert"],
            strict_http=True,
        )
        return adapter, session

    def _send(
        self,
        call: Any,
        method: str,
        path: str,
        token: str | None,
        *,
        what: str,
        key: str | None,
        **kwargs: Any,
    ) -> Any:
        adapter, session = self._made()
        headers = {"X-Vault-Token": token} if token else {}
        failed: StrongroomError
        while True:
            try:
                return session.run(call, adapter.request, method, path, headers=headers, **kwargs)
            except Exception as error:  # noqa: BLE001  # requests, urllib3 and the OS raise many kinds
                failed = self._translated(error, what, key)
            # Nothing was done, and it takes the server a moment: no caller should have to know.
            if not says_upgrading(failed) or call.left() <= _UPGRADE_PAUSE_SECONDS:
                break
            time.sleep(_UPGRADE_PAUSE_SECONDS)
        if isinstance(failed, ThrottledError):
            failed.retry_after = call.retry_after
        # Outside: requests' errors carry the request, and with it the token and the value.
        raise failed

    @staticmethod
    def _translated(error: Exception, what: str, key: str | None) -> StrongroomError:
        from hvac.exceptions import VaultError
        from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

        if isinstance(error, VaultError):
            if what == "login" and type(error).__name__ in {"InvalidRequest", "Forbidden", "InvalidPath"}:
                return AuthenticationError(
                    "vault: login refused", provider="vault", hint="check auth: method, mount and credentials"
                )
            ours = translate(error, what, key)
            ours.raw = error  # type: ignore[attr-defined]  # the reply, for the callers that need its details
            return ours
        if isinstance(error, InvalidSchema | InvalidURL | MissingSchema):
            return ConfigurationError(
                "vault: the address, or where it redirects to, is not usable", provider="vault"
            )
        if isinstance(error, OSError) and not hasattr(error, "request"):
            return ConfigurationError(f"vault: {type(error).__name__}: certificate files", provider="vault")
        return unavailable(what, type(error).__name__, key)
