"""Requests to one server over kept connections: TLS, proxies, redirects. No environment variable is read."""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote, urljoin, urlsplit

from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import ConfigurationError
from strongroom.parallel import forks_wait

from strongroom_vault.wire import Call, Connection, LostError, Reply

__all__ = ["BadAddressError", "RedirectedError", "Transport"]

_PORTS: Final = {"http": 80, "https": 443}
_IDLE_SECONDS: Final = 60.0
"""A connection that was idle for longer is not used: a firewall may have dropped it silently."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 10
_FAILING: Final = 500
_IN_URLS: Final = "!#$%&'()*+,/:;=?@[]~"


class BadAddressError(Exception):
    """The address, or one that it redirects to, cannot be used."""


class RedirectedError(Exception):
    """A write was answered with a redirect, and not done."""

    def __init__(self, method: str, status: int) -> None:
        super().__init__(f"a {method} was redirected with {status}")


class _Place:
    """The address of a server or a proxy, in its parts."""

    __slots__ = ("host", "login", "netloc", "path", "port", "scheme")

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna" if not url.isascii() else "ascii").decode()
            port, scheme = parts.port, parts.scheme.lower()
        except ValueError:  # UnicodeError is one
            host, port, scheme, parts = "", None, "", None
        if parts is None or not host or scheme not in _PORTS or port == 0 or not _is_printable(host):
            raise BadAddressError
        shown = f"[{host}]" if ":" in host else host
        self.scheme, self.host, self.port = scheme, host, port or _PORTS[scheme]
        self.netloc = shown if self.port == _PORTS[scheme] else f"{shown}:{self.port}"
        self.path = quote(parts.path, safe=_IN_URLS) + (
            f"?{quote(parts.query, safe=_IN_URLS)}" if parts.query else ""
        )
        user, password = parts.username, parts.password
        self.login = None if user is None else _basic(unquote(user), unquote(password or ""))

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class Transport:
    """Sends requests to `url`, and to where it redirects; used by many threads.

    Args:
        url: Address of the server; a path is put before that of each request.
        namespace: The value of `X-Vault-Namespace`.
        verify: Check the certificate; text is the file or folder of the CA.
        cert: The client's certificate, or certificate and key.
        connections: How many connections are kept open.
        proxies: A proxy's address by `http`, `https`, `all`, or by one of these and `://HOST`.

    Raises:
        ConfigurationError: A proxy's address cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str | None,
        verify: bool | str,
        cert: str | tuple[str, str] | None,
        connections: int,
        proxies: Mapping[str, str] | None,
    ) -> None:
        self._url = url
        self._base: _Place | None = None
        self._headers = {"X-Vault-Request": "true", "User-Agent": "strongroom"}
        if namespace is not None:
            self._headers["X-Vault-Namespace"] = namespace
        self._verify, self._cert, self._most = verify, cert, connections
        self._proxies = {name: _proxy(address) for name, address in (proxies or {}).items() if address}
        self._idle: dict[tuple[Any, ...], deque[Connection]] = {}
        self._closed = False
        self._contexts: tuple[Any, Any] = (None, None)
        self._making = threading.RLock()  # a signal handler may interrupt it, as the lock of `Seen`
        self._names = DeadlineExecutor()
        # Closes the sockets of a provider that was not closed.
        weakref.finalize(self, _close_all, self._idle).atexit = False

    def send(
        self, call: Call, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Return the answer to a request, redirects followed; other facts about it are noted in `call`.

        Redirects from https to http are refused, as anybody could read the token; so are those that turn a
        write into a read, whose answer would look like success.

        Raises:
            BadAddressError: The address, or one that it redirects to, cannot be used.
            RedirectedError: A write was redirected in a way that turns it into a read.
            ConfigurationError: A certificate's file, or a header, cannot be used.
            LostError, OSError: No whole answer came in time.
        """
        if self._base is None:
            with forks_wait():
                self._base = _Place(self._url)
        place = self._base
        target = f"{place.path.rstrip('/')}/{quote(path.strip('/'), safe=_IN_URLS)}"
        sent = {**self._headers, **headers}
        if place.login is not None:
            sent["Authorization"] = place.login
        call.redirected = ""
        for _ in range(_MOST_REDIRECTS):
            proxy = self._proxy_of(place)
            message = _message(method, place, target, sent, body=body, proxy=proxy)
            reply = self._exchanged(call, place, proxy, message, again=method == "GET")
            call.status, call.date = reply.status, reply.headers.get("date")
            wait = reply.headers.get("retry-after", "")
            call.retry_after = float(wait) if wait.isascii() and wait.isdigit() else None
            location = reply.headers.get("location") if reply.status in _REDIRECTS else None
            if location is None:
                return reply
            if method != "GET" and (reply.status in {302, 303} or (reply.status, method) == (301, "POST")):
                raise RedirectedError(method, reply.status)
            place, before = _redirected(place, target, location), place
            if before.scheme == "https" and place.scheme != "https":
                raise BadAddressError
            target = place.path or "/"
            if place.origin != before.origin:
                sent.pop("Authorization", None)
                call.redirected = f"{place.scheme}://{place.netloc}"
        raise LostError("there are too many redirects")

    def close(self) -> None:
        """Close the idle connections; the others are closed after their use."""
        self._closed = True
        _close_all(self._idle)
        self._names.close()

    def _exchanged(
        self, call: Call, place: _Place, proxy: _Place | None, message: bytes, *, again: bool
    ) -> Reply:
        """Return the answer to `message`, sent over a kept connection or a new one.

        If the server closed a kept connection meanwhile, the message is sent `again`.
        """
        way = place.origin if proxy is None or place.scheme == "https" else ("proxy", *proxy.origin)
        while True:
            connection = self._kept(way)
            fresh = connection is None
            if connection is None:
                connection = self._opened(call, place, proxy)
            began = time.monotonic()
            try:
                reply = connection.ask(message, call)
            except BaseException as error:
                connection.close()
                silent = isinstance(error, TimeoutError) and not connection.answered
                if silent and not fresh:
                    # What made this one silent, such as a server's sudden end, has met the others too.
                    _close_all({way: self._idle.get(way, deque())})
                lost = isinstance(error, (LostError, OSError)) and not isinstance(error, TimeoutError)
                if not lost or fresh or not again or connection.answered:
                    raise
                continue
            call.round_trip = time.monotonic() - began
            self._keep(way, connection)
            if reply.status >= _FAILING:
                # A node that is sealed or has no leader answers so as long as it is asked. A balancer sends
                # new connections to another one, but leaves the open ones where they are.
                _close_all({way: self._idle.get(way, deque())})
            return reply

    def _kept(self, way: tuple[Any, ...]) -> Connection | None:
        """Return the idle connection that was used last."""
        kept = self._idle.get(way)
        while kept and (connection := _pop(kept)) is not None:
            if time.monotonic() - connection.used < _IDLE_SECONDS and connection.is_idle():
                return connection
            connection.close()
        return None

    def _keep(self, way: tuple[Any, ...], connection: Connection) -> None:
        idle = self._idle.setdefault(way, deque())
        if not connection.keeps or self._closed or len(idle) >= self._most:
            connection.close()
            return
        idle.append(connection)
        if self._closed:  # in this very moment
            self.close()

    def _proxy_of(self, place: _Place) -> _Place | None:
        if not self._proxies:
            return None
        names = (f"{place.scheme}://{place.host}", place.scheme, f"all://{place.host}", "all")
        return next((self._proxies[name] for name in names if name in self._proxies), None)

    def _opened(self, call: Call, place: _Place, proxy: _Place | None) -> Connection:
        context = self._context() if place.scheme == "https" else None
        opened = self._connected(call, proxy or place)
        try:
            if context is not None:
                if proxy is not None:
                    _tunnel(opened, place, proxy, call)
                opened.settimeout(call.wait())
                opened = context.wrap_socket(opened, server_hostname=place.host)
        except BaseException:
            opened.close()
            raise
        return Connection(opened)

    def _connected(self, call: Call, place: _Place) -> Any:
        failed: OSError | None = None
        addresses = self._addresses(call, place)
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            opened = None
            try:
                opened = socket.socket(family, kind, protocol)
                # If one does not answer, there is time left for the others.
                opened.settimeout(call.wait() / (len(addresses) - at))
                opened.connect(address)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except OSError as error:
                failed = error
            except BaseException:
                if opened is not None:
                    opened.close()
                raise
            else:
                return opened
            if opened is not None:
                opened.close()
        raise failed or LostError("the name has no address")

    def _addresses(self, call: Call, place: _Place) -> list[Any]:
        # Bytes: text would be encoded as IDNA, which it is, by a module that is then imported.
        ask = (place.host.encode(), place.port, 0, socket.SOCK_STREAM, 0)
        try:
            return socket.getaddrinfo(*ask, socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # a name, which a name service is asked for; that knows no deadline
        try:
            return self._names.run(lambda: socket.getaddrinfo(*ask), Deadline(call.wait()))
        except DeadlineExceededError:
            pass  # reported below
        raise TimeoutError

    def _context(self) -> Any:
        """Return the TLS context, which is made again if one of its files has changed.

        While the new files do not fit together, as between the writes of certificate and key, the former
        context serves.
        """
        files = [name for name in (self._verify, *_files_of(self._cert)) if isinstance(name, str)]
        failed: str
        try:
            stamp = [(found.st_mtime_ns, found.st_ino, found.st_size) for found in map(os.stat, files)]
            with forks_wait(), self._making:
                if self._contexts[0] != stamp:
                    self._contexts = (stamp, _context(self._verify, self._cert))
                return self._contexts[1]
        except OSError as error:  # that of ssl is one
            failed = type(error).__name__
        former = self._contexts[1]
        if former is not None:
            return former
        raise ConfigurationError(f"vault: {failed}: certificate files", provider="vault")


def _message(
    method: str,
    place: _Place,
    target: str,
    headers: Mapping[str, str],
    *,
    body: bytes | None,
    proxy: _Place | None,
) -> bytes:
    """Return a request as it is sent to `place`, or to the proxy that passes it on."""
    if proxy is not None and place.scheme == "http":
        target = f"http://{place.netloc}{target}"
        headers = {**headers, **_proxy_login(proxy)}
    return _request(method, place.netloc, target, headers, body)


def _request(method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if not _is_printable(value):
            _refuse_header(name)
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    elif method in {"POST", "PUT", "PATCH"}:
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "\r\n"]).encode() + (body or b"")


def _proxy_login(proxy: _Place) -> dict[str, str]:
    return {} if proxy.login is None else {"Proxy-Authorization": proxy.login}


def _refuse_header(name: str) -> NoReturn:
    what = {"X-Vault-Token": "token", "X-Vault-Namespace": "namespace"}.get(name, name)
    raise ConfigurationError(
        f"vault: the {what} holds a control character, which no HTTP header takes", provider="vault"
    )


def _redirected(place: _Place, target: str, location: str) -> _Place:
    try:
        address = urljoin(f"{place.scheme}://{place.netloc}{target}", location)
    except ValueError:
        address = ""
    return _Place(address)


def _tunnel(opened: Any, place: _Place, proxy: _Place, call: Call) -> None:
    host = f"[{place.host}]" if ":" in place.host else place.host
    to = f"{host}:{place.port}"
    asked = _request("CONNECT", to, to, _proxy_login(proxy), None)
    Connection(opened).tunnel(asked, call)


def _context(verify: bool | str, cert: str | tuple[str, str] | None) -> Any:
    import encodings.idna  # noqa: F401  # a name is encoded by it later, when a fork may come in between
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        _trust_the_system(context)
    elif os.path.isdir(verify):  # noqa: PTH112  # pathlib takes long to import
        context.load_verify_locations(capath=verify)
    else:
        context.load_verify_locations(cafile=verify)
    if cert is not None:
        # An encrypted key is an error; OpenSSL would ask for a password on the terminal.
        certificate, key = cert if isinstance(cert, tuple) else (cert, None)
        context.load_cert_chain(certificate, key, password="")
    return context


def _trust_the_system(context: Any) -> None:
    """Load the authorities of the system, without those of `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    import ssl

    known = ssl.get_default_verify_paths()
    file = known.openssl_cafile if os.path.isfile(known.openssl_cafile) else None  # noqa: PTH113  # no pathlib, as above
    folder = known.openssl_capath if os.path.isdir(known.openssl_capath) else None  # noqa: PTH112  # as above
    if file or folder:
        context.load_verify_locations(file, folder)


def _files_of(cert: str | tuple[str, str] | None) -> tuple[str, ...]:
    return () if cert is None else (cert,) if isinstance(cert, str) else cert


def _proxy(address: str) -> _Place:
    try:
        place = _Place(address if "://" in address else f"http://{address}")
    except BadAddressError:
        place = None
    if place is None or place.scheme != "http":
        # Not shown: there may be a password in it.
        raise ConfigurationError(
            "vault: a proxy's address is not usable", provider="vault", hint="write http://HOST:PORT"
        )
    return place


def _basic(user: str, password: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _is_printable(text: str) -> bool:
    return not any(character < " " or character == "\x7f" for character in text)


def _close_all(idle: Mapping[Any, deque[Connection]]) -> None:
    for kept in list(idle.values()):
        while (connection := _pop(kept)) is not None:
            connection.close()


def _pop(kept: deque[Connection]) -> Connection | None:
    try:
        return kept.pop()
    except IndexError:  # another thread took the last one
        return None
