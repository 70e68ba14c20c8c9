"""The life of the server: it reads the spec, opens sockets, handles signals, and ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvloop
from strongroom import TenantContext
from strongroom.errors import ConfigurationError, StrongroomError

from strongroom_serve import systemd
from strongroom_serve.app import App
from strongroom_serve.asking import Backend
from strongroom_serve.config import ALL_TENANTS, ServeConfig, address_of, config_of
from strongroom_serve.http import MOST_CONNECTIONS, Connections
from strongroom_serve.sockets import Listener, allow_open_files, bound_tcp, bound_unix, taken_over

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["serve"]

_log = logging.getLogger("strongroom.serve")
_ROTATIONS_SECONDS: Final = 30.0
_PLACES: Final = ("socket", "socket_mode", "socket_group", "listen")
"""The options of the section that count only at a start."""
_OTHER_FILES: Final = 512
"""Descriptors for what is not a connection of a client."""
_DRAIN_SECONDS: Final = 25.0
_END_SECONDS: Final = 28.0
"""From the signal on, and less than the 30 s after which Kubernetes kills a pod."""


def serve(
    open_registry: Callable[[], Any],
    *,
    socket: str | None = None,
    listen: str | None = None,
    overview: Any = None,
) -> int:
    """Answer requests until a signal says to end, and return the exit code.

    Args:
        open_registry: Reads the spec and returns its registry; called again at SIGHUP.
        socket: Listen at this Unix socket, instead of what the spec says.
        listen: Listen at this `HOST:PORT`, instead of what the spec says.
        overview: Looks at a registry for the pages, and at its rotations from time to time.

    Raises:
        ConfigurationError: The section `serve:` is missing or wrong, or there is nowhere to listen.
        ConflictError: A server listens there already.
    """
    backend = _read(open_registry)
    try:
        listeners, are_of_spec = _listeners(backend.config, socket, listen)
        try:
            with _audit_lines_shown(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                server = _Server(backend, listeners, open_registry, overview, are_of_spec=are_of_spec)
                runner.run(server.run())
        finally:
            for one in listeners:
                one.close()
    except BaseException:
        backend.close()
        raise
    return 0


@contextmanager
def _audit_lines_shown() -> Iterator[None]:
    """Write the lines of audit hooks without a path to standard error, a server's log, during the block."""
    log = logging.getLogger("strongroom.audit")
    if log.isEnabledFor(logging.INFO):
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


def _read(open_registry: Callable[[], Any], source: str | None = None) -> Backend:
    """Return the result of a reading of the spec, which has to be `source` if that is given.

    Raises:
        ConfigurationError: The section `serve:` is wrong; or the spec is gone, and another one was found,
            such as that of a folder above.
    """
    registry = open_registry()
    try:
        if source is not None:
            _refuse_another(source, registry.plan.source)
        return Backend(registry, config_of(registry.serve_options(), registry.plan.source))
    except BaseException:
        registry.close()
        raise


def _refuse_another(source: str, found: str) -> None:
    if found != source:
        raise ConfigurationError(
            f"{source} is gone, and is not replaced by {found}", hint="put it back, and send SIGHUP again"
        )


def _listeners(config: ServeConfig, socket: str | None, listen: str | None) -> tuple[list[Listener], bool]:
    """Return the listeners, and whether they are of the spec, and not of systemd or the command's options."""
    listeners = taken_over()
    by_call = bool(listeners) or socket is not None or listen is not None
    if not listeners:
        path = config.socket if not by_call else _absolute(socket) if socket is not None else None
        address = config.listen if not by_call else address_of(listen) if listen is not None else None
        if path is None and address is None:
            raise ConfigurationError(
                "there is nowhere to listen", hint="give serve.socket or serve.listen, --socket or --listen"
            )
        try:
            if path is not None:
                listeners.append(bound_unix(path, config.socket_mode, config.socket_group))
            if address is not None:
                listeners.append(bound_tcp(*address))
        except BaseException:
            for one in listeners:
                one.close()
            raise
    for listener in listeners:
        if listener.is_tcp and not listener.is_loopback and config.cert is None:
            for other in listeners:
                other.close()
            raise ConfigurationError(
                f"{listener.address} is not loopback, and there is no certificate",
                hint="give serve.tls: {cert: …, key: …}",
            )
    return listeners, not by_call


def _absolute(path: str) -> Path:
    from pathlib import Path  # it takes long to load, and an address has no use for it

    return Path(path).absolute()


class _Server:
    def __init__(
        self,
        backend: Backend,
        listeners: list[Listener],
        open_registry: Callable[[], Any],
        overview: Any,
        *,
        are_of_spec: bool = True,
    ) -> None:
        self._listeners = listeners
        self._at_start = backend.config
        self._are_of_spec = are_of_spec
        self._open = open_registry
        self._overview = overview
        self._app = App(backend, overview=overview)
        self._tls = _tls_context(backend.config)
        self._reading: asyncio.Task[None] | None = None
        self._is_due_again = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        connections = Connections(self._app, loop, most=_most_connections())
        servers = [
            await connections.listen(one, self._tls if one.is_tcp else None) for one in self._listeners
        ]
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, ending.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        status = f"listening at {', '.join(self._shown(one) for one in self._listeners)}"
        print(status, flush=True)  # noqa: T201  # the one line that its starter waits for
        self._warn(self._app.backend.config)
        systemd.ready(status)
        chores = [loop.create_task(_tell_alive()), loop.create_task(self._see_to_rotations())]
        await ending.wait()
        until = self._app.ends_at = loop.time() + _END_SECONDS
        systemd.stopping()
        self._app.draining = True
        for server in servers:
            server.close()
        await connections.drain(_DRAIN_SECONDS)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=max(0.0, until - loop.time()))
        await self._app.close(max(0.0, until - loop.time()))

    def _shown(self, one: Listener) -> str:
        return one.address if not one.is_tcp else f"{'https' if self._tls else 'http'}://{one.address}"

    async def _see_to_rotations(self) -> None:
        """Look after the rotations of the spec in force as long as the server runs."""
        while self._overview is not None:
            await asyncio.sleep(_ROTATIONS_SECONDS)
            backend = self._app.backend
            if not self._overview.has_rotators(backend.sync):
                continue
            backend.requests += 1  # as a request, so that it is not closed meanwhile
            try:
                await see_to_rotations(backend, self._overview)
            except Exception as error:  # noqa: BLE001  # it is tried again, and its text may hold anything
                _log.warning("rotations could not be looked at: %s", type(error).__name__)
            finally:
                self._app.done(backend)

    def _read_again(self) -> None:
        # A signal during a reading may be of a change that the reading has missed.
        self._is_due_again = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._reload_while_due())

    async def _reload_while_due(self) -> None:
        while self._is_due_again:
            self._is_due_again = False
            await self._reload()

    async def _reload(self) -> None:
        systemd.reloading()
        outcome = "ok"
        try:
            before = self._app.backend
            source = before.sync.plan.source
            backend = await before.threads_of("").run_in_thread(_read, self._open, source)
            try:
                if self._tls is not None:
                    _load_certificate(self._tls, backend.config)
            except StrongroomError:
                await asyncio.to_thread(backend.close)
                raise
        except StrongroomError as error:
            outcome = "failed"
            _log.error("not reloaded: %s; the spec from before stays in force", error.message)
        except Exception as error:  # noqa: BLE001  # the server lives on with what it has
            outcome = "failed"
            problem = type(error).__name__  # its text may hold anything
            _log.error("not reloaded: %s; the spec from before stays in force", problem)
        else:
            self._app.use(backend)
            self._warn(backend.config)
            _log.info("the spec was read again")
        self._app.metrics.reloads.add(outcome)
        systemd.ready("listening")

    def _warn(self, config: ServeConfig) -> None:
        """Say what of a spec that is in force has no effect."""
        problems = []
        if all(one.is_tcp for one in self._listeners):
            problems += [
                f"no request can be from serve's client {one.name}: only a Unix socket shows a uid"
                for one in config.clients
                if one.uid is not None
            ]
        before = self._at_start
        changed = [name for name in _PLACES if getattr(config, name) != getattr(before, name)]
        if not self._are_of_spec:
            changed = []
        if (config.cert is None) != (before.cert is None) and any(one.is_tcp for one in self._listeners):
            changed.append("tls")
        if changed:
            names = ", ".join(f"serve.{name}" for name in changed)
            problems.append(f"the rest of the spec is in force; for another {names} restart the server")
        for problem in problems:
            _log.warning("%s", problem)


def _most_connections() -> int:
    """Return how many connections there may be: secrets, backends and logs need descriptors, too."""
    files = allow_open_files(MOST_CONNECTIONS + _OTHER_FILES)
    return min(MOST_CONNECTIONS, max(files - _OTHER_FILES, files // 4))


async def see_to_rotations(backend: Backend, overview: Any) -> None:
    """Have rotators retire values whose time of grace is over, such as an old password.

    Those of tenants, too, as far as clients name them.
    """
    look = partial(overview.rotations, backend.sync)
    if not any(row.get("needs_tenant") for row in await backend.in_thread(look)):
        return
    named = {tenant for one in backend.config.clients for tenant in one.tenants}
    for tenant in sorted(named - {ALL_TENANTS}):
        with TenantContext(tenant):
            await backend.in_thread(look)


async def _tell_alive() -> None:
    seconds = systemd.watchdog_seconds()
    while seconds is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


def _tls_context(config: ServeConfig) -> ssl.SSLContext | None:
    if config.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, config)
    return context


def _load_certificate(context: ssl.SSLContext, config: ServeConfig) -> None:
    if config.cert is None or config.key is None:
        raise ConfigurationError("serve.tls is gone; addresses do not change while the server runs")
    try:
        # First into one that nobody uses: a certificate without its key, as in the middle of a renewal, would
        # replace the one before and end TLS. With an empty password OpenSSL does not ask for one.
        for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            one.load_cert_chain(config.cert, config.key, password="")
    except OSError as error:
        raise ConfigurationError(
            f"serve.tls: {config.cert} and {config.key}: {error.strerror or type(error).__name__}",
            hint="they must be a pair in PEM, the key without a password: see `strongroom doctor --serve`",
        ) from error
