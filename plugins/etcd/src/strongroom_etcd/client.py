"""Requests to etcd's JSON gateway, to a member that answers; logs in again when tokens end."""

from __future__ import annotations

import json
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from strongroom.clients import redact_message
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor, Slots, held_within
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
)
from strongroom.parallel import never_collect, renew_after_fork
from strongroom.plugins.credentials import newest
from strongroom.providers.files import file_version

from strongroom_etcd.errors import (
    AGAIN,
    EXHAUSTED,
    LOGIN,
    NO_LOGINS,
    REFUSED_LOGIN,
    TYPE_NAME,
    UNAVAILABLE,
    ServerError,
    translate,
)
from strongroom_etcd.http import HTTPConnection, LostError

__all__ = ["Client"]

_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_LOGINS: Final = 2
_OK: Final = 200
_NOT_FOUND: Final = 404
_CODES: Final = {429: EXHAUSTED, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE}
"""The codes of gRPC for the status of a proxy's or balancer's own answer."""


class Client:
    """Sends requests, each to the member that answered last, and to the next one if it does not answer.

    A request may be sent twice, as reads change nothing and writes name the state that they change.

    Args:
        endpoints: Addresses of the members.
        username, password: The login, or None.
        tls: Files of the CA, the client's certificate and its key.
        most: Connections of this process.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        username: str | None,
        password: str | None,
        tls: tuple[Path | None, Path | None, Path | None],
        most: int,
    ) -> None:
        self._endpoints = list(endpoints)
        self._given = self._login = (username, password)
        self._files = tls
        self._most = most
        self._at = 0
        self._token: str | None = None
        self._context: tuple[list[str], ssl.SSLContext | None] = ([], None)
        self._runner = DeadlineExecutor(most + 8)
        self._closed = False
        self._begin_again()
        renew_after_fork(self, Client._after_fork)

    @property
    def address(self) -> str:
        """The members' addresses, for messages."""
        return ", ".join(self._endpoints)

    def call(self, doing: str, path: str, body: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            ServerError: The server's error, which only the caller can judge.
            StrongroomError: Any other failure.
            DeadlineExceededError: There was no answer in time, and no member said why.
        """
        data = json.dumps(body, separators=(",", ":")).encode()
        self._slots.take(deadline)
        try:
            answer: dict[str, Any] = self._until_answered(
                doing, lambda: self._post(path, data, deadline), deadline
            )
            return answer
        finally:
            self._slots.give_back()

    def stream(
        self, path: str, body: dict[str, Any], deadline: Deadline, silence: float
    ) -> tuple[HTTPConnection, dict[str, Any], Iterator[dict[str, Any]]]:
        """Begin a request with an endless answer; return its connection, the first message, and the others.

        Args:
            path: What is asked.
            body: The request.
            deadline: When the first message must be there.
            silence: After so many seconds without another message a `DeadlineExceededError` is raised.

        Raises:
            ServerError: The server's error, which only the caller can judge.
            StrongroomError: Any other failure.
            DeadlineExceededError: No first message came in time.
        """
        data = json.dumps(body).encode()

        def begin() -> tuple[HTTPConnection, dict[str, Any], Iterator[dict[str, Any]]]:
            with self._asking_one_member(deadline) as share:
                connection = self._open(deadline)
                try:
                    # Else the member would go on, cut off from all changes, and nobody would notice.
                    connection.send(path, data, self._logged_in(deadline), share, needs_leader=True)
                    return connection, *self._messages(connection, share, silence)
                except BaseException:
                    connection.close()
                    raise

        begun: tuple[HTTPConnection, dict[str, Any], Iterator[dict[str, Any]]]
        begun = self._until_answered("watch", begin, deadline)
        return begun

    def _messages(
        self, connection: HTTPConnection, deadline: Deadline, silence: float
    ) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
        """Return the first message of an endless answer, which is waited for until then, and the rest."""
        status, length = connection.head(deadline)
        if status != _OK:
            raise self._refusal(status, connection.body(length, deadline))
        limit = Deadline(None, deadline)
        messages = _messages(connection.chunks(limit))
        first = next(messages, None)
        if first is None:
            raise LostError("the answer ended before it began")

        def rest() -> Iterator[dict[str, Any]]:
            while True:
                limit.end = time.monotonic() + silence
                message = next(messages, None)
                if message is None:
                    return
                yield message

        return first, rest()

    def forget_login(self) -> bool:
        """Log in again before the next request; return whether there is a user to log in."""
        self._token = None
        return self._login[0] is not None

    def _until_answered(self, doing: str, ask: Callable[[], Any], deadline: Deadline) -> Any:
        """Return the result of `ask`, called for other members, too, while there is time."""
        pause, failed, logins = _PAUSE, "", 0
        refused: StrongroomError | None = None
        for tried in range(1, 3 * len(self._endpoints) + 1):
            at = self._at
            try:
                return ask()
            except ServerError as error:
                failed = error.text
                if error.says(*LOGIN) and self._login[0] is not None and logins < _LOGINS:
                    logins += 1
                    self._token = None
                    continue
                if error.code not in AGAIN:
                    raise
                refused = translate(error, doing)
                self._drop_idle()  # they lead to this member, also behind a balancer
            except (LostError, OSError) as error:
                failed, refused = _message_of(error, doing, self._endpoints[at]), None
                self._drop_idle()  # they lead to the same member
            except DeadlineExceededError:
                if not failed:
                    raise
                break
            self._at = (at + 1) % len(self._endpoints)
            if tried % len(self._endpoints) == 0:
                if not deadline.allows(pause):
                    break
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        raise refused or BackendUnavailableError(
            f"{TYPE_NAME}: {doing}: no member of {self.address} answers: {failed}",
            provider=TYPE_NAME,
            hint="is the cluster running, and are those its client addresses?",
        )

    def _post(self, path: str, data: bytes, deadline: Deadline) -> dict[str, Any]:
        token = self._logged_in(deadline)
        connection = self._take(deadline)
        reused = False
        try:
            with self._asking_one_member(deadline) as share:
                try:
                    status, body = connection.post(path, data, token, share)
                except LostError:
                    if connection.fresh:
                        raise
                    # A kept connection that had died: at once on a new one.
                    connection.close()
                    connection = self._open(deadline)
                    status, body = connection.post(path, data, token, share)
            reused = True
        finally:
            if reused:
                connection.used = time.monotonic()
                self._idle.append(connection)
                if self._closed:
                    self._drop_idle()
            else:
                connection.close()
        if status != _OK:
            raise self._refusal(status, body)
        return _parsed(body)

    def _take(self, deadline: Deadline) -> HTTPConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open(deadline)
            if connection.member == self._at:
                return connection
            connection.close()  # to a member that refused: another one is asked now

    def _open(self, deadline: Deadline) -> HTTPConnection:
        member = self._at
        address = urlsplit(self._endpoints[member])
        tls = self._tls() if address.scheme == "https" else None
        host, port = address.hostname or "", address.port or 2379
        # On a thread of its own, for the search for a host's address knows no timeout.
        share = self._share(deadline)
        try:
            opened = self._runner.run(
                lambda: HTTPConnection(host, port, tls, share), share, HTTPConnection.close
            )
        except DeadlineExceededError:
            raise LostError(f"{host}:{port} does not answer") from None
        opened.member = member
        return opened

    def _share(self, deadline: Deadline) -> Deadline:
        """Return the time for one member: half of what is left, if there are others."""
        return Deadline(max(deadline.remaining() / 2, 0.05) if len(self._endpoints) > 1 else None, deadline)

    @contextmanager
    def _asking_one_member(self, deadline: Deadline) -> Iterator[Deadline]:
        """Give the block the time for one member; a member that lets it pass is lost, if there are others."""
        try:
            yield self._share(deadline)
        except DeadlineExceededError:
            if len(self._endpoints) == 1:
                raise
            raise LostError("a member does not answer") from None

    def _tls(self) -> ssl.SSLContext:
        """Return the TLS context, which is made again if one of its files has changed.

        While the new files do not fit together, as between the writes of certificate and key, the former
        context serves.
        """
        ca, cert, key = (None if one is None else str(one) for one in self._files)
        stamp_before, context_before = self._context
        failed: str
        try:
            stamp = [file_version(Path(one).stat()) for one in (ca, cert, key) if one is not None]
            if context_before is not None and stamp == stamp_before:
                return context_before
            context = ssl.create_default_context(cafile=ca)
            if cert is not None:
                # With an empty password OpenSSL asks for none at the terminal, where nobody may be.
                context.load_cert_chain(cert, key, password="")
        except OSError as error:  # that of ssl is one
            failed = str(error.strerror or error)
        else:
            self._context = (stamp, context)
            return context
        if context_before is not None:
            return context_before
        raise ConfigurationError(
            f"{TYPE_NAME}: the files for TLS cannot be read: {failed}",
            provider=TYPE_NAME,
            hint="check ca_file, client_cert and client_key, which must have no password",
        )

    def _logged_in(self, deadline: Deadline) -> str | None:
        """Return the token, after a login if there is none; None without a user."""
        username, password = self._login
        if username is None or self._token is not None:
            return self._token or None
        with held_within(self._lock, deadline.remaining()) as held:
            if not held:  # another thread's login takes longer
                raise DeadlineExceededError
            if self._token is None:
                self._token = self._authenticated(username, password or "", deadline)
            return self._token or None

    def _authenticated(self, username: str, password: str, deadline: Deadline) -> str:
        """Return a token; a refused login is tried again with the present values of its references."""
        body = json.dumps({"name": username, "password": password}).encode()
        with self._asking_one_member(deadline) as share:
            connection = self._open(deadline)
            try:
                status, answer = connection.post("/v3/auth/authenticate", body, None, share)
            finally:
                connection.close()
        if status == _OK:
            return str(_parsed(answer).get("token", ""))
        error = self._refusal(status, answer, username, password)
        if error.says(NO_LOGINS):
            return ""  # then everybody may do everything
        if error.says(REFUSED_LOGIN):
            name, word = newest(self._given)
            if name is not None and (name, word or "") != (username, password):
                self._login = (name, word)
                return self._authenticated(name, word or "", deadline)
            raise AuthenticationError(
                f"{TYPE_NAME}: log in as {username}: {error.text}",
                provider=TYPE_NAME,
                hint="check username and password",
            )
        raise error

    def _refusal(self, status: int, body: bytes, *sent: str) -> ServerError:
        """Return the error of a member, or of a proxy before it, which may quote the login or the token."""
        known = [*sent, self._login[1], self._token]
        return _refusal(status, body, self._endpoints[self._at], [one for one in known if one])

    def close(self) -> None:
        """Close the free connections; the others, and those of later calls, are closed after their use."""
        self._closed = True
        self._drop_idle()
        self._runner.close()

    def _drop_idle(self) -> None:
        _close_all(self._idle)

    def _begin_again(self) -> None:
        self._idle: deque[HTTPConnection] = deque()
        # Closes the sockets of a provider that was not closed.
        self._end = weakref.finalize(self, _close_all, self._idle)
        self._end.atexit = False
        self._slots = Slots(self._most)
        self._lock = threading.RLock()  # a signal handler may log in in the middle of a login

    def _after_fork(self) -> None:
        """Drop the connections in a forked child: they are its parent's."""
        for one in self._idle:
            never_collect(one.socket)
        self._end.detach()
        self._begin_again()


def _close_all(idle: deque[HTTPConnection]) -> None:
    while idle:
        try:
            idle.pop().close()
        except IndexError:  # another thread took the last one
            break


def _message_of(error: Exception, doing: str, member: str) -> str:
    """Return the reason of a failed connection, shortened.

    Raises:
        ConfigurationError: It is about TLS, and so will be again.
        StrongroomError: It is one itself: an outage of another backend, which has the password.
    """
    if isinstance(error, StrongroomError):
        raise error
    if not isinstance(error, ssl.SSLError):
        return redact_message(str(getattr(error, "strerror", None) or error))
    # A server that speaks HTTP alone answers in its own words, or ends the connection, for which Python has
    # had two errors.
    is_ended = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    is_plain = is_ended or "WRONG_VERSION_NUMBER" in str(error)
    raise ConfigurationError(
        f"{TYPE_NAME}: {doing}: {member}: {redact_message(str(error))}",
        provider=TYPE_NAME,
        hint="no TLS there? write http://" if is_plain else "check ca_file, client_cert and client_key",
    ) from None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    # Without a header it is another server's, such as `{}`, in which no secret is found.
    if not isinstance(answer, dict) or not isinstance(answer.get("header"), dict) or not _is_sound(answer):
        raise LostError("what answers is not etcd's gateway")
    return answer


def _messages(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a stream: JSON, a line each, however they are cut into chunks."""
    held = b""
    for chunk in chunks:
        held += chunk
        *lines, held = held.split(b"\n")
        for line in lines:
            if line.strip():
                yield _message(line)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        raise LostError("the watch was refused")
    return result


def _is_sound(answer: Any) -> bool:
    """Return whether an answer, or one nested in a transaction's, has the form of etcd's."""
    if not isinstance(answer, dict):
        return False
    pairs, answers = answer.get("kvs", []), answer.get("responses", [])
    return (
        isinstance(pairs, list)
        and isinstance(answers, list)
        and all(isinstance(one, dict) and isinstance(one.get("key"), str) for one in pairs)
        and all(isinstance(one.get("value", ""), str) for one in pairs)
        and all(isinstance(one, dict) and all(map(_is_sound, one.values())) for one in answers)
    )


def _refusal(status: int, body: bytes, member: str, hidden: Sequence[str]) -> ServerError:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and isinstance(fields.get("error"), dict):
        fields = fields["error"]
    code = fields.get("code", fields.get("grpc_code")) if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(code, int):
        what = "there is no gateway" if status == _NOT_FOUND else "what answers is not etcd's gateway"
        return ServerError(_CODES.get(status, 0), f"{member}: {what} (HTTP {status})")
    return ServerError(code, str(fields.get("message") or fields.get("error") or ""), hidden)
