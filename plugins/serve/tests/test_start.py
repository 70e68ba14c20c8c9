"""What `strongroom serve` imports until it has answered the first request."""

from __future__ import annotations

import socket

from served import ADMIN, spec_of
from served_process import PATIENCE, Process, write

LATER = {
    "argparse", "click", "cryptography", "dataclasses", "jinja2", "pydantic", "requests", "rich", "secrets", "sqlite3",
    "stringprep", "yaml",
}  # fmt: skip
"""What it needs for other requests, or for other forms of the command, alone."""
MOST = 326
"""Modules: what was counted, with little to spare. An empty one takes a tenth of a millisecond."""


def test_a_start_imports_only_what_the_first_answer_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path, spec_of(provider={"type": "env"}))
    words = ["--listen", "127.0.0.1:0"]
    first = Process(tmp_path, words=words)  # takes the whole way, and remembers the spec
    first.end()
    first.stop()
    (tmp_path / "n").unlink()
    running = Process(tmp_path, "-X", "importtime", words=words)
    try:
        address = ("127.0.0.1", int(running.line.rpartition(":")[2]))
        with socket.create_connection(address, PATIENCE) as sock:
            head = f"GET /v1/secret/data/k HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {ADMIN}\r\n\r\n"
            sock.sendall(head.encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 404 ")
        code, _, log = running.end()
    finally:
        running.stop()
    assert code == 0
    loaded = {line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")}
    assert {"strongroom_serve.app", "gunicorn_h1c"} <= loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert (loaded | packages) & LATER == set()
    assert len(loaded) <= MOST
