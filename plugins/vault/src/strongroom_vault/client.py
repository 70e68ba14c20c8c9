"""Requests to one server: token, deadline, errors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from strongroom.deadlines import check_limits
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
    ValidationError,
    show_key,
)
from strongroom.parallel import never_collect, renew_after_fork

from strongroom_vault.consistency import Seen
from strongroom_vault.errors import (
    Answer,
    address_of,
    no_server,
    said_by,
    says_denied,
    says_upgrading,
    shown,
    translate,
    unavailable,
)
from strongroom_vault.login import LOGIN, Login
from strongroom_vault.names import url_path
from strongroom_vault.payload import as_json, parsed, texts_in
from strongroom_vault.refusals import refusal
from strongroom_vault.transport import BadAddressError, RedirectedError, Transport
from strongroom_vault.wire import Call, LostError, Reply

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE_SECONDS = 0.05
_NO_CONTENT, _NO_SUCCESS, _IS_BEHIND = 204, 300, 412
_REFUSED = (ValidationError, AuthenticationError, PermissionDeniedError, SecretNotFoundError)


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
    mount: str,
) -> VaultClient:
    """Return a client by the options that everything here has; it makes no request before the first call.

    Raises:
        ConfigurationError: An option is not what it has to be.
    """
    for name, given in (("url", url), ("mount_point", mount)):
        if not isinstance(given, str):
            kind = type(given).__name__
            raise ConfigurationError(f"vault: {name} must be text, got a {kind}", provider="vault")
    wrong = [
        what
        for bad, what in (
            (not url, "url is empty"),
            (not mount.strip("/"), "mount_point is empty"),
            (
                bool(url) and not url.lower().startswith(("http://", "https://")),
                "url must begin with https:// or http://",
            ),
            (_splits_login(url), "the password in url holds a / or ?: write %2F and %3F in their place"),
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
        "cert": str(cert) if isinstance(cert, os.PathLike) else cert,
        "connections": max_connections,
        "proxies": proxies,
    }
    return VaultClient(url, login, timeout, options, mount.strip("/"))


def _splits_login(url: str) -> bool:
    if "@" not in url:
        return False
    from strongroom.clients import splits_login  # only here: it loads more than a read needs

    return splits_login(url)


class VaultClient:
    """Requests with a token, under a deadline; connections are made at the first one."""

    def __init__(self, url: str, login: Login, timeout: float, options: dict[str, Any], mount: str) -> None:
        self.url, self.login, self.timeout, self.mount = url, login, timeout, mount
        self._options = options
        self._address = address_of(url)
        self.round_trip = 0.0
        """Seconds that the last answer took."""
        self._seen = Seen()
        self._transport = Transport(url, **options)
        renew_after_fork(self, VaultClient._after_fork)

    def _after_fork(self) -> None:
        """Drop the connections in a forked child: they are its parent's."""
        never_collect(self._transport)
        self._seen = self._seen.copy()
        self._transport = Transport(self.url, **self._options)

    @property
    def namespace(self) -> str | None:
        found: str | None = self._options["namespace"]
        return found

    def call(
        self, method: str, path: str, what: str, key: str | None = None, *, counts: bool = True, **kwargs: Any
    ) -> Any:
        """Return the reply, or None if it has no body; after a dead token, it logs in again once.

        Args:
            method: The HTTP method, or `list`.
            path: The path, from `/v1` on.
            what: The operation, for errors.
            key: The secret's key, for errors.
            counts: Whether the server takes the request for a use of the token.
            **kwargs: `json` (the body), `params`, `headers`; or `call`, a deadline that is shared.

        Raises:
            PermissionDeniedError, AuthenticationError: The server refuses the request, or the login.
            BackendUnavailableError: It does not answer.
            StrongroomError: It answers with another error.
        """
        call = kwargs.pop("call", None) or Call(self.timeout)
        send = _Sender(self, call)

        def ask(token: str) -> Any:
            return self._send(call, method, path, token, what=what, key=key, **kwargs)

        token = self.login.token(send, call, counts=counts)
        try:
            return ask(token)
        except PermissionDeniedError as error:
            if says_denied(error) or self._alive(call, token):
                raise
        if self.login.can_replace(token):
            newer = self.login.replace(token, send, call)
            try:
                return ask(newer)
            except PermissionDeniedError as error:
                # The token in a file may be dead, too.
                if says_denied(error) or self._alive(call, newer):
                    raise
        about = f" {show_key(key)}" if key is not None else ""
        raise AuthenticationError(
            f"vault: {what}{about}{self._where(path)}: the token is not valid (any more)",
            key=key,
            provider="vault",
            hint="give a new token, or `auth` so that it is renewed",
        )

    def new_call(self) -> Any:
        """Return a deadline that several requests share."""
        end = _whole_ends.get()
        return Call(self.timeout if end is None else min(self.timeout, end - time.monotonic()))

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """End every call of the block within `seconds`; None sets no limit."""
        token = _whole_ends.set(None if seconds is None else time.monotonic() + seconds)
        try:
            yield
        finally:
            _whole_ends.reset(token)

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        before, self._transport = self._transport, Transport(self.url, **self._options)
        before.close()

    def _alive(self, call: Any, token: str) -> bool:
        # A dead token and a missing permission are 403 alike. A look-up may take a token's last use away.
        if self.login.has_few_uses:
            return False
        try:
            self._send(call, "get", "/v1/auth/token/lookup-self", token, what="look up the token", key=None)
        except PermissionDeniedError as error:
            return says_denied(error)
        return True

    def _where(self, path: str, call: Call | None = None) -> str:
        """Return where a request went, for errors: address, mount, namespace, and any redirect."""
        namespace = self.namespace
        about = [f"mount {self.mount}"] if path.startswith(f"/v1/{url_path(self.mount)}/") else []
        about += [f"namespace {namespace}"] if namespace else []
        about += [f"redirected to {call.redirected}"] if call is not None and call.redirected else []
        more = f" ({', '.join(about)})" if about else ""
        return f" at {self._address}{more}"

    def _send(
        self,
        call: Call,
        method: str,
        path: str,
        token: str | None,
        *,
        what: str,
        key: str | None,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        sent = {**(headers or {}), **({"X-Vault-Token": token} if token else {})}
        body = None
        if json is not None:
            body = as_json(json).encode()
            sent["Content-Type"] = "application/json"
        if method == "list":
            # As a GET, which every proxy lets pass.
            method, params = "get", {**(params or {}), "list": "true"}
        path = path.rstrip("/")
        if params:
            path += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
        failed: StrongroomError
        while True:
            passes = False
            try:
                reply = self._transport.send(call, method.upper(), path, sent | self._seen.headers, body)
            except (BadAddressError, RedirectedError, LostError, OSError) as error:
                failed = _unanswered(error, what, key, self._where(path, call))
            else:
                self.round_trip = call.round_trip
                self._seen.note(reply.headers, is_write=method != "get")
                if reply.status < _NO_SUCCESS:
                    return _answer(reply, self._where(path, call))
                hidden = [token or "", *texts_in(json)]
                failed = _refused(reply, what, key, self._where(path, call), hidden)
                passes = reply.status == _IS_BEHIND or says_upgrading(failed)
            # Nothing was done, and it takes the server a moment: no caller should have to know.
            if not passes or call.left() <= _PAUSE_SECONDS:
                break
            time.sleep(_PAUSE_SECONDS)
        if isinstance(failed, ThrottledError):
            failed.retry_after = call.retry_after
        # Outside of the block above, so that nothing of the request is its context.
        raise failed


def _refused(reply: Reply, what: str, key: str | None, where: str, hidden: list[str]) -> StrongroomError:
    """Return strongroom's error for an answer that is not a success."""
    ours = translate(reply, what, key, where=where, hidden=hidden)
    if what == LOGIN and isinstance(ours, _REFUSED):
        reason = shown(said_by(reply), hidden)
        status_and_reason = f"{reply.status}: {reason}" if reason else f"{reply.status}"
        return refusal(f"vault: login{where} is refused ({status_and_reason})")
    ours.raw = reply  # type: ignore[attr-defined]  # for the callers that need its details
    return ours


def _unanswered(error: Exception, what: str, key: str | None, where: str) -> StrongroomError:
    """Return strongroom's error for a request that the server did not answer."""
    about = f" {show_key(key)}" if key is not None else ""
    if isinstance(error, RedirectedError):
        return BackendUnavailableError(
            f"vault: {what}{about}{where}: {error}, and was not done",
            key=key,
            provider="vault",
            hint="give the address that it redirects to, or check whether a proxy or a portal answers",
        )
    if isinstance(error, BadAddressError):
        return ConfigurationError(
            f"vault: {what}{about}{where}: the address, or where it redirects to, is not usable",
            key=key,
            provider="vault",
            hint="an address is `https://HOST:PORT`",
        )
    return unavailable(what, error, key, where)


class _Sender:
    """Makes the requests of a login, within the time of the call that needs it."""

    def __init__(self, client: VaultClient, call: Any) -> None:
        self._client, self._call = client, call
        self.server = (client.url, client.namespace)

    def __call__(
        self, method: str, path: str, *, token: str | None, what: str, json: Any, share: int = 1
    ) -> Any:
        """Return the reply, within one `share`th of the call's time."""
        call = self._call if share == 1 else Call(min(self._client.timeout / share, self._call.left()))
        return self._client._send(call, method, path, token, what=what, key=None, json=json)  # noqa: SLF001  # its own part


def _answer(reply: Reply, where: str) -> Answer | None:
    """Return the JSON of a reply; None if it has no body, as after a write."""
    if reply.status == _NO_CONTENT:
        return None
    deep = False
    try:
        body = parsed(reply.body)
    except ValueError:
        body = None
    except RecursionError:
        deep = True
    if deep:
        raise ValidationError(f"vault: what is stored{where} is JSON nested too deeply", provider="vault")
    if not isinstance(body, dict):
        raise no_server(where)
    answer = Answer(body)
    answer.where = where
    return answer
