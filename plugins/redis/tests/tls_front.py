"""TLS in front of a server that has none: Valkey's small build, here."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

__all__ = ["TlsFront"]


class TlsFront:
    """Takes TLS with a client's certificate on a port of the loopback address, and passes on to `target`."""

    def __init__(self, target: int, files: Path) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files / "server.pem", files / "server.key")
        self._context.load_verify_locations(files / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:  # a client that is refused
            secure = self._context.wrap_socket(client, server_side=True)
            with secure, socket.create_connection(("127.0.0.1", self._target)) as server:
                threading.Thread(target=_pass_on, args=(server, secure), daemon=True).start()
                _pass_on(secure, server)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Send what comes until it ends, and then its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
