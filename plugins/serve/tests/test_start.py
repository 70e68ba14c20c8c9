"""What `strongroom serve` imports until it has answered the first request."""

from __future__ import annotations

import socket

from served import ADMIN, spec_of
from served_process import PATIENCE, Process, write

LATER = {
    "argparse", "asyncio.sslproto", "asyncio.staggered", "base64", "calendar", "click", "cryptography", "dataclasses",
    "email.utils", "html", "importlib.metadata", "jinja2", "locale", "pathlib", "pydantic", "random", "requests",
    "rich", "secrets", "sqlite3", "stringprep", "strongroom.paths.user_home", "strongroom.plugins.distributions",
    "strongroom.spec.inside", "strongroom.spec.references", "strongroom_serve.openapi", "strongroom_serve.ui",
    "tempfile", "textwrap", "tokenize", "yaml", "zipfile",
}  # fmt: skip
"""What it needs for other requests, or for other forms of the command, alone."""
MOST = 286
"""Modules: what was counted, with little to spare. An empty one takes a tenth of a millisecond."""
COMMAND = """\
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
sys.argv[:3] = ["strongroom"]  # without "-m strongroom" behind the code
from strongroom.cli import script
script()
"""


def test_a_start_imports_only_what_the_first_answer_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path, spec_of(provider={"type": "env"}))
    words = ["--listen", "127.0.0.1:0"]
    first = Process(tmp_path, "-c", COMMAND, words=words)  # takes the whole way, and remembers the spec
    first.end()
    first.stop()
    (tmp_path / "n").unlink()
    running = Process(tmp_path, "-c", COMMAND, words=words)
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
    loaded = {name for line in log.splitlines() if line.startswith("loaded ") for name in line.split()[1:]}
    assert {"strongroom_serve.app", "gunicorn_h1c"} <= loaded
    assert loaded & LATER == set()
    assert len(loaded) <= MOST
