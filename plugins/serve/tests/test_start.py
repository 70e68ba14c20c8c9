"""What `strongroom serve` imports until it has answered the first request."""

from __future__ import annotations

import socket

from served import ADMIN, spec_of
from served_process import PATIENCE, Process, write

LATER = {
    "argparse", "click", "cryptography", "dataclasses", "email", "gunicorn", "html", "http", "importlib.metadata",
    "importlib.resources", "jinja2", "requests", "rich", "sqlite3", "stringprep", "tempfile", "zipfile",
}  # fmt: skip
"""What it needs for other requests, or for other forms of the command, alone."""


def test_a_start_imports_only_what_the_first_answer_needs(tmp_path):
    write(tmp_path, spec_of(socket="s"))
    running = Process(tmp_path, "-X", "importtime")
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(tmp_path / "s"))
            head = f"GET /v1/secret/data/k HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {ADMIN}\r\n\r\n"
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
