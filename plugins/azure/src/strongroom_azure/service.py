"""Microsoft's client, kept to a deadline: every request of the provider goes through `KeyVault.call`.

Importing this module imports the SDK.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import DecodeError
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.secrets import SecretClient
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from strongroom.clients import backoff_delays, call_with_retries, is_permanent
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.errors import (
    BackendUnavailableError,
    NotFoundReason,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
    show_key,
)
from urllib3.util.retry import Retry

from strongroom_azure import errors
from strongroom_azure.versions import newest_first

T = TypeVar("T")

_OK = 200
_LIST = re.compile(r"/(?:deleted)?secrets/?|/secrets/[^/]+/versions/?")
_ID = re.compile(r"://[^/]+/(?:deleted)?secrets/[^/]")

CONNECTIONS = 64
"""Kept connections: as many as a batch may have readers; the default of requests is 10."""


def make_client(
    vault_url: str, credential: Any, client_options: Mapping[str, Any], timeout: float
) -> tuple[SecretClient, Callable[[], object]]:
    """Return the official client, and what closes its idle connections.

    The client has no retries of its own, which would know no deadline.
    """
    options: dict[str, Any] = {
        "retry_total": 0,
        "connection_timeout": timeout,
        "read_timeout": timeout,
        **client_options,
    }
    options["raw_response_hook"] = _checked_before(options.get("raw_response_hook"))
    drop_idle: Callable[[], object] = _leave
    if "transport" not in options:
        session = options.pop("session", None)
        if session is None:
            session = _session(vault_url, options)
            drop_idle = session.close  # of the connections; the session goes on
        options["transport"] = RequestsTransport(session=session, **options)
    return SecretClient(vault_url, credential, **options), drop_idle


def _leave() -> None:
    """Leave the connections of a session or transport that the caller made."""


def _checked_before(theirs: Callable[[Any], None] | None) -> Callable[[Any], None]:
    def check(exchange: Any) -> None:
        check_complete(exchange)
        if theirs is not None:
            theirs(exchange)

    return check


def check_complete(exchange: Any) -> None:
    """Raise `DecodeError` for a successful answer whose body is not Key Vault's."""
    if exchange.http_response.status_code == _OK and not _is_complete(exchange):
        raise DecodeError(message="the answer is not Key Vault's")


def _is_complete(exchange: Any) -> bool:
    """Return whether an answer has what Key Vault always sends: a secret, or a list of secrets.

    The SDK takes a proxy's page or `{}` for a list of nothing and for a write that was done, and makes text
    of a value that is not one.
    """
    try:
        body = json.loads(exchange.http_response.body())
    except (ValueError, RecursionError):
        return False
    if not isinstance(body, dict):
        return False
    asked = exchange.http_request
    if asked.method != "GET" or not _LIST.fullmatch(urlsplit(asked.url).path):
        return _is_secret(body)
    listed = body.get("value")
    return isinstance(listed, list) and all(map(_is_secret, listed)) and _fits(body, {"nextLink": str})


def _is_secret(entry: Any) -> bool:
    """Return whether this is a secret as Key Vault sends it; see "Secret Bundle" in its REST reference."""
    return (
        isinstance(entry, dict)
        and isinstance(named := entry.get("id"), str)
        and _ID.search(named) is not None
        and _fits(entry, {"value": str, "attributes": dict, "tags": dict})
        and _fits(entry.get("attributes") or {}, {"created": int, "enabled": bool})
        and all(isinstance(one, str) for one in (entry.get("tags") or {}).values())
    )


def _fits(members: Mapping[str, Any], kinds: Mapping[str, type]) -> bool:
    """Return whether each of these members has its type, is null, or is missing."""
    return all(isinstance(members.get(name), (kind, type(None))) for name, kind in kinds.items())


def _session(vault_url: str, options: dict[str, Any]) -> requests.Session:
    """Return a session that reads the environment once, and not at each request.

    It takes proxies and CAs from there, as the SDK does, unless `options` say otherwise; but no login from a
    `.netrc`, which would replace the token.
    """
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=_once()))
    if options.get("use_env_settings", True):
        if "proxies" not in options:
            session.proxies.update(get_environ_proxies(vault_url))
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        if bundle and "connection_verify" not in options:
            options["connection_verify"] = bundle
    session.trust_env = False
    return session


class LoginTransport(RequestsTransport):  # type: ignore[misc]  # azure.core imports its names at first use
    """What azure-identity uses by itself to get a token, but with no login of a `.netrc`.

    The library `requests` would take one from there for each request that has none, and send it.
    """

    def _init_session(self, session: requests.Session) -> None:
        super()._init_session(session)
        session.auth = _unchanged


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _once() -> Retry:
    return Retry(total=False, redirect=False, raise_on_status=False)


class KeyVault:
    """The calls that the provider makes, each within a deadline and with strongroom's errors."""

    def __init__(
        self,
        client: Any,
        runner: DeadlineExecutor,
        *,
        drop_idle: Callable[[], object] = _leave,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self._drop_idle = drop_idle
        self._runner = runner
        self.pause = sleep

    def read(self, name: str, key: str, deadline: Deadline, version: str | None = None) -> Any:
        """Return a secret with its value and tags.

        Raises:
            SecretNotFoundError: It is disabled; or there is none, absent or deleted (`reason_for` tells).
        """

        def unreadable(error: Exception) -> StrongroomError | None:
            if version is not None and errors.status_of(error) == 400:  # noqa: PLR2004  # no version has that form
                return SecretNotFoundError(key, provider="azure")
            disabled = errors.is_disabled(error) or (
                errors.may_be_disabled(error) and self._is_disabled(name, version, deadline)
            )
            return SecretNotFoundError(key, reason="disabled", provider="azure") if disabled else None

        return self.call(
            lambda: self.client.get_secret(name, version),
            deadline,
            key=key,
            doing="reading",
            explain=unreadable,
        )

    def reason_for(self, name: str, deadline: Deadline) -> NotFoundReason:
        """Return why a secret is not found: the answer itself does not tell deleted from absent."""
        try:
            self._runner.run(lambda: self.client.get_deleted_secret(name), deadline)
        except Exception:  # noqa: BLE001  # not there, or not for us to know
            return "absent"
        return "deleted"

    def write(self, name: str, value: str, tags: dict[str, str], deadline: Deadline, **about: Any) -> None:
        """Add a version; a deleted secret of that name is recovered first, as the service asks for it."""
        recovered = False

        def add() -> None:
            # Not repeated when its answer was lost: it might put back what somebody else has replaced since.
            self.call(
                lambda: self.client.set_secret(name, value, tags=tags),
                deadline,
                repeatable=False,
                doing="writing",
                **about,
            )

        def recover(busy: errors.BusyError) -> bool:
            nonlocal recovered
            if busy.deleted is False:
                return False  # on its way to be deleted, purged or recovered: only time helps
            try:
                self.call(
                    lambda: self.client.begin_recover_deleted_secret(name),
                    deadline,
                    doing="recovering",
                    key=about["key"],
                )
            except (SecretNotFoundError, errors.BusyError):
                return False
            first, recovered = not recovered, True
            return first

        try:
            self._when_free(add, deadline, about["key"], "writing", recover)
        except StrongroomError as error:
            if recovered:
                error.hint = (
                    "the deleted secret has been recovered, and so readers get its old value: set it again"
                )
            raise

    def delete(self, name: str, key: str, deadline: Deadline, *, purge: bool) -> None:
        """Delete a secret and, where `purge` says so, wait until it can be purged and do that."""

        def delete() -> bool:
            # Not repeated when its answer was lost: the repetition would say that there is nothing to delete.
            poller = self.call(
                lambda: self.client.begin_delete_secret(name),
                deadline,
                key=key,
                doing="deleting",
                repeatable=False,
            )
            return poller.result().recovery_id is not None  # else the vault keeps no deleted secrets

        try:
            soft_deleted = self._when_free(delete, deadline, key, "deleting")
        except SecretNotFoundError:
            if not purge:
                raise
            # Deleted before, perhaps by a call that had no time left to purge.
            self._when_free(lambda: self._purge(name, key, deadline), deadline, key, "purging")
            return

        def purge_now() -> None:
            try:
                self._purge(name, key, deadline)
            except SecretNotFoundError as error:
                not_yet = errors.BusyError(error.message, key=key, provider="azure")
            else:
                return
            raise not_yet

        if purge and soft_deleted:
            self._when_free(purge_now, deadline, key, "purging")

    def pages(
        self, listing: Callable[..., Any], deadline: Callable[[], Deadline], **about: Any
    ) -> Iterator[Any]:
        """Yield all items of a list, each of its pages with a deadline of its own."""
        pages = listing().by_page()
        while (page := self.call(lambda: _next(pages), deadline(), **about)) is not None:
            yield from page

    def call(
        self,
        send: Callable[[], T],
        deadline: Deadline,
        *,
        doing: str,
        key: str | None = None,
        repeatable: bool = True,
        hidden: str | None = None,
        explain: Callable[[Exception], StrongroomError | None] = lambda _: None,
    ) -> T:
        """Make a call; repeat it after growing pauses if that may help, and there is time.

        Args:
            send: Calls the client.
            deadline: When to give up.
            doing: The operation, for messages.
            key: The key it is about.
            repeatable: Whether it may be sent again when it is not known whether it took effect.
            hidden: A value that is sent and must not appear in any text.
            explain: Gives a better error for what the call raised, or None.
        """

        def sent() -> T:
            try:
                return self._runner.run(send, deadline)
            except Exception as error:
                if errors.is_silence(error):
                    # What made its connection silent has met the idle ones too.
                    self._drop_idle()
                raise

        return call_with_retries(
            sent,
            deadline,
            translate=lambda failed: (
                explain(failed) or errors.translate(failed, doing=doing, key=key, hidden=hidden)
            ),
            is_retryable=lambda failed, ours: _is_retryable(failed, ours, repeatable=repeatable),
            retry_after=errors.retry_after,
            pause=self.pause,
        )

    def _when_free(
        self,
        attempt: Callable[[], T],
        deadline: Deadline,
        key: str,
        doing: str,
        free: Callable[[errors.BusyError], bool] = lambda _: False,
    ) -> T:
        """Return the result of `attempt` once the name is free; `free` returns whether it helped."""
        waits = backoff_delays()
        while True:
            try:
                return attempt()
            except errors.BusyError as error:
                busy = error
            if free(busy):
                pause = 0.0
            elif deadline.allows(pause := next(waits)):
                self.pause(pause)
            else:
                break
        conflict = BackendUnavailableError(
            f"azure: {doing} {show_key(key)}: Key Vault is still deleting, purging or recovering it",
            key=key,
            provider="azure",
            hint="call again in a few seconds, or raise timeout",
        )
        raise conflict from busy.__cause__

    def _purge(self, name: str, key: str, deadline: Deadline) -> None:
        self.call(lambda: self.client.purge_deleted_secret(name), deadline, key=key, doing="purging")

    def _is_disabled(self, name: str, version: str | None, deadline: Deadline) -> bool:
        """Ask whether a version is disabled, if the refusal did not say so in the usual words."""
        try:
            listed = self._runner.run(
                lambda: newest_first(self.client.list_properties_of_secret_versions(name)), deadline
            )
        except Exception:  # noqa: BLE001  # then the first error is raised
            return False
        asked = [item for item in listed if version in (None, item.version)]
        return bool(asked) and asked[0].enabled is False


def _next(pages: Iterator[Any]) -> list[Any] | None:
    page = next(pages, None)
    return None if page is None else list(page)


def _is_retryable(failed: Exception, ours: StrongroomError, *, repeatable: bool) -> bool:
    """Return whether a call that failed may be made again."""
    if not isinstance(ours, BackendUnavailableError) or isinstance(ours, errors.BusyError):
        return False
    if is_permanent(str(failed)):
        return False
    return repeatable or isinstance(ours, ThrottledError) or errors.was_not_sent(failed)
