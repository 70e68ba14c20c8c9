"""A real Valkey on a free port of the loopback address, started and stopped by its handle."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from free_ports import free_port

__all__ = ["ValkeyServer", "connections_so_far"]


class ValkeyServer:
    """A server process; its data is in memory, and gone with it."""

    def __init__(self, binary: Path, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self._command = [
            str(binary), *arguments, "--port", "0" if "--tls-port" in arguments else str(self.port),
            "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder),
        ]  # fmt: skip
        if "--tls-port" in arguments:
            self.port = int(arguments[arguments.index("--tls-port") + 1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.begin()

    @classmethod
    def sentinel(cls, binary: Path, configuration: Path) -> ValkeyServer:
        """Start the binary as a sentinel with this file, which it writes to."""
        made = cls.__new__(cls)
        made.port = free_port()
        made.url = f"redis://127.0.0.1:{made.port}/0"
        made._command = [
            str(binary), str(configuration), "--sentinel", "--port", str(made.port), "--bind", "127.0.0.1",
            "--dir", str(configuration.parent),
        ]  # fmt: skip
        made._process = None
        made.begin(until=b"+monitor")
        return made

    def begin(self, until: bytes = b"Ready to accept connections") -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if until in line:
                return
        message = f"the server did not start: {self._command}"
        raise AssertionError(message)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.communicate(timeout=300)
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """Send one command over a connection of its own, in the server's own protocol, and return the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as one:
            sent = [word.encode() for word in words]
            one.sendall(
                b"*%d\r\n" % len(sent) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in sent)
            )
            time.sleep(0)
            return one.recv(65536)


def connections_so_far(server: ValkeyServer) -> int:
    """Return how many connections the server has taken, with the one that asks for it."""
    [count] = re.findall(rb"total_connections_received:(\d+)", server.ask("INFO", "stats"))
    return int(count)
