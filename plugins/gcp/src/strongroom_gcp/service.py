"""Google's client, kept to a deadline: every request of the provider goes through `SecretManager.call`.

Importing this module imports the SDK.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import google_crc32c
import requests
from google.cloud import secretmanager_v1 as sm
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
    SecretManagerServiceTransport,
)
from google.protobuf import json_format  # type: ignore[import-untyped]  # ships no types
from requests.adapters import HTTPAdapter
from strongroom.clients import call_with_retries, check_answer, is_permanent
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)

from strongroom_gcp import errors
from strongroom_gcp.options import bad
from strongroom_gcp.payload import check_crc
from strongroom_gcp.sessions import ignore_netrc, without_netrc

CONNECTIONS = 64
PAGE_SIZE = 1000
"""Secrets a page: the service would give 25,000, some 10 MB, which a plain gRPC channel (4 MiB) refuses."""

_IDLE_SECONDS = 60.0
_LONGEST_BACKOFF = 2.0
_SMALLEST_TIMEOUT = 0.001
_REDIRECTION = 300
_NO_ANSWER = "the answer is not Secret Manager's"
_ACCESS = "access_secret_version"
_NAMED = frozenset({_ACCESS, "add_secret_version", "create_secret", "get_secret", "get_secret_version"})
_VERSION_NAME = re.compile(r"/versions/[0-9]+\Z")
_LISTS = {"list_secret_versions": "versions", "list_secrets": "secrets"}


class _GrpcTransport(SecretManagerServiceGrpcTransport):
    """The SDK's own transport, over a channel with limits of ours."""

    @classmethod
    def create_channel(cls, *args: Any, **more: Any) -> Any:
        """Return a channel to the service."""
        ours = (
            # A firewall may have dropped what was idle for longer, and gRPC would go on using it.
            ("grpc.client_idle_timeout_ms", round(_IDLE_SECONDS * 1000)),
            # gRPC's own is two minutes: so long after an outage it might still not try to connect.
            ("grpc.max_reconnect_backoff_ms", round(_LONGEST_BACKOFF * 1000)),
        )
        login = more.get("credentials")
        if login is not None:
            login = without_netrc(login, more.get("scopes"), cls.AUTH_SCOPES, more.get("quota_project_id"))
        options = (*(more.get("options") or ()), *ours)
        return super().create_channel(*args, **{**more, "credentials": login, "options": options})


def make_client(
    credentials: Any, transport: Any, client_options: Mapping[str, Any]
) -> sm.SecretManagerServiceClient:
    """Return the official client.

    Raises:
        ConfigurationError: The ready transport is one that only works with asyncio.
    """
    if not isinstance(transport, SecretManagerServiceTransport):
        client = sm.SecretManagerServiceClient(
            credentials=credentials,
            transport=transport if transport == "rest" else _GrpcTransport,
            client_options=dict(client_options),
        )
        _keep_connections(client.transport)
        _keep_token(client.transport)
        _check_bodies(client.transport)
        return client
    if str(transport.kind) == "grpc_asyncio":
        raise bad(
            "the ready transport works with asyncio only",
            "use SecretManagerServiceGrpcTransport or SecretManagerServiceRestTransport",
        )
    _check_bodies(transport)
    return sm.SecretManagerServiceClient(transport=transport, client_options=dict(client_options))


def _keep_connections(transport: Any) -> None:
    """Let REST keep as many connections as a batch has readers; requests would drop all but 10."""
    session = getattr(transport, "_session", None)
    if isinstance(session, requests.Session):
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))


def _keep_token(transport: Any) -> None:
    """Let REST send its token, and get one without a login of a `.netrc`."""
    session = getattr(transport, "_session", None)
    for one in (session, getattr(session, "_auth_request_session", None)):
        if isinstance(one, requests.Session):
            ignore_netrc(one)


def _check_bodies(transport: Any) -> None:
    """Let REST refuse an answer that is not JSON: of a deletion, the SDK does not look at it."""
    session = getattr(transport, "_session", None)
    if isinstance(session, requests.Session) and _refuse_strangers not in session.hooks["response"]:
        session.hooks["response"].append(_refuse_strangers)


def _refuse_strangers(response: requests.Response, *_: Any, **__: Any) -> None:
    if response.status_code >= _REDIRECTION:
        return
    try:
        is_object = isinstance(response.json(), dict)
    except (ValueError, RecursionError):
        is_object = False
    # Outside the `except` block: what is not JSON may hold a value.
    if not is_object:
        raise json_format.ParseError(_NO_ANSWER)


def _check_complete(rpc: str, request: Mapping[str, Any], answer: Any) -> None:
    """Refuse an answer without what the service always tells: `{}` of a proxy is an empty message.

    Of a deletion and of a list of nothing it is the service's own answer.
    """
    names = [one.name for one in _named_in(rpc, answer)]
    expected = _named(request.get("name") or request["parent"]) or request.get("secret_id")
    answered = [_named(name) for name in names]
    whole = None not in answered and (
        not rpc.endswith(("_version", "_versions")) or all(map(_VERSION_NAME.search, names))
    )
    if not whole or (rpc == _ACCESS and not answer.payload.data):
        raise json_format.ParseError(_NO_ANSWER)
    if expected is not None and rpc != _ACCESS and any(name != expected for name in answered):
        raise json_format.ParseError("the answer is about another secret")


def _named_in(rpc: str, answer: Any) -> Iterable[Any]:
    """Return the parts of an answer that have a name."""
    return [answer] if rpc in _NAMED else getattr(answer, _LISTS.get(rpc, ""), ())


def find_credentials(quota_project_id: str | None) -> Any:
    """Return the login of Google's standard chain, Application Default Credentials."""
    import google.auth

    found, _ = google.auth.default(
        default_scopes=SecretManagerServiceTransport.AUTH_SCOPES, quota_project_id=quota_project_id
    )
    return found


class SecretManager:
    """The calls that the provider makes, each within a deadline and with strongroom's errors."""

    def __init__(
        self,
        client: Any,
        runner: DeadlineExecutor,
        *,
        guarded: bool = False,
        ready: bool = False,
        newer: Callable[[], Any] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self._ready = ready
        self._newer = newer
        self.transport = str(client.transport.kind)
        self._runner = runner
        # A forked child has a service of its own; a signal handler may call in the middle.
        self._lock = threading.RLock()
        self.pause = sleep
        # gRPC keeps to its deadline by itself, name look-up, login and dripping servers included.
        self._send = self._send_grpc if self.transport == "grpc" and not guarded else self._send_guarded

    def access(self, name: str, key: str, deadline: Deadline) -> bytes:
        """Return the payload of a version, its checksum compared."""

        def unreadable(error: Exception) -> StrongroomError | None:
            reason = errors.unreadable_state(error)
            if reason is None and errors.may_be_state(error):
                reason = self._state_of(name, deadline)
            return SecretNotFoundError(key, reason=reason, provider="gcp") if reason else None

        answer = self.call(
            "access_secret_version",
            {"name": name},
            deadline,
            key=key,
            doing="reading",
            explain=unreadable,
        )
        check_answer("gcp", key, _named(name) or "", _named(answer.name))
        payload = answer.payload
        data: bytes = payload.data
        if "data_crc32c" in payload:
            check_crc(key, payload.data_crc32c, google_crc32c.value(data))
        return data

    def add(self, parent: str, key: str, data: bytes, deadline: Deadline, *, hidden: str) -> None:
        """Add a version with the payload and its checksum."""
        request = {
            "parent": parent,
            "payload": {"data": data, "data_crc32c": google_crc32c.value(data)},
        }
        # Not repeated when its answer was lost: it might put back what somebody else has replaced since.
        self.call(
            "add_secret_version", request, deadline, key=key, doing="writing", repeatable=False, hidden=hidden
        )

    def pages(
        self, rpc: str, request: dict[str, Any], deadline: Callable[[], Deadline], **about: Any
    ) -> Iterator[Any]:
        """Yield each page of a list, each with a deadline of its own."""
        token = ""
        while True:
            page = self.call(
                rpc, {**request, "page_size": PAGE_SIZE, "page_token": token}, deadline(), **about
            )
            yield page
            token = page.next_page_token
            if not token:
                return

    def call(
        self,
        rpc: str,
        request: dict[str, Any],
        deadline: Deadline,
        *,
        doing: str,
        key: str | None = None,
        repeatable: bool = True,
        hidden: str | None = None,
        explain: Callable[[Exception], StrongroomError | None] = lambda _: None,
    ) -> Any:
        """Make a call, again after a growing pause where that may help and there is time for it.

        Args:
            rpc: The client's method.
            request: Its request.
            deadline: When to give up.
            doing: The operation, for messages.
            key: The key it is about.
            repeatable: Whether it may be sent again when it is not known whether it took effect.
            hidden: A value that is sent and must not appear in any text.
            explain: Gives a better error for what the call raised, or None.
        """
        used = self.client

        def send() -> Any:
            nonlocal used
            used = self.client
            try:
                answer = self._send(getattr(used, rpc), request, deadline)
            except Exception as error:
                if errors.is_silence(error):
                    self._drop_idle(used)
                raise
            _check_complete(rpc, request, answer)
            return answer

        def is_retryable(failed: Exception, ours: StrongroomError) -> bool:
            if isinstance(ours, AuthenticationError):
                return self._has_newer(used)
            return _is_retryable(failed, ours, repeatable=repeatable)

        return call_with_retries(
            send,
            deadline,
            translate=lambda failed: (
                explain(failed) or errors.translate(failed, doing=doing, key=key, hidden=hidden)
            ),
            is_retryable=is_retryable,
            retry_after=errors.retry_after,
            pause=self.pause,
        )

    def _drop_idle(self, client: Any) -> None:
        """Close the idle connections of REST: what made one of them silent has met the others too."""
        session = getattr(client.transport, "_session", None)
        if not self._ready and isinstance(session, requests.Session):
            session.close()  # which goes on, with new connections

    def _has_newer(self, used: Any) -> bool:
        """Return whether there is another client than the one whose login was refused, with a newer key."""
        with self._lock:
            if self.client is used and (newer := self._newer()) is not None:
                self.client = newer
            return self.client is not used

    def _send_grpc(self, method: Any, request: dict[str, Any], deadline: Deadline) -> Any:
        # `retry=None`: the client's own retries go on for 60 s whatever the timeout.
        return method(request=request, retry=None, timeout=max(deadline.remaining(), _SMALLEST_TIMEOUT))

    def _send_guarded(self, method: Any, request: dict[str, Any], deadline: Deadline) -> Any:
        return self._runner.run(lambda: self._send_grpc(method, request, deadline), deadline)

    def _state_of(self, name: str, deadline: Deadline) -> Any:
        """Ask for a version's state, where the service's message did not tell it in the usual words."""
        try:
            version = self._send(self.client.get_secret_version, {"name": name}, deadline)
        except Exception:  # noqa: BLE001  # then the first error is raised
            return None
        return {"DISABLED": "disabled", "DESTROYED": "destroyed"}.get(version.state.name)


def _named(resource: str) -> str | None:
    """Return the name of a secret out of a version's: the project may be given by its number instead."""
    return resource.partition("/secrets/")[2].partition("/")[0] or None


def _is_retryable(failed: Exception, ours: StrongroomError, *, repeatable: bool) -> bool:
    """Return whether a call that failed may be made again."""
    if not isinstance(ours, BackendUnavailableError) or is_permanent(str(failed)):
        return False
    return repeatable or isinstance(ours, ThrottledError) or errors.was_not_sent(failed)
