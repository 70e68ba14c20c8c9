"""What `strongroom serve` imports until it has answered the first request."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from served import ADMIN, spec_of
from served_process import PATIENCE, Process, write

LATER = {
    "argparse", "asyncio.sslproto", "asyncio.staggered", "base64", "calendar", "click", "cryptography", "dataclasses",
    "email.utils", "hashlib", "hmac", "html", "importlib.metadata", "jinja2", "locale", "pathlib", "pydantic", "random", "requests",
    "rich", "secrets", "sqlite3", "stringprep", "strongroom.paths.user_home", "strongroom.plugins.distributions",
    "strongroom.spec.inside", "strongroom.spec.references", "strongroom_serve.openapi", "strongroom_serve.ui",
    "tempfile", "textwrap", "tokenize", "yaml", "zipfile",
}  # fmt: skip
"""What it needs for other requests, or for other forms of the command, alone."""
MOST = 286 + (sys.version_info >= (3, 13))
"""Modules: what was counted, with little to spare. An empty one takes a tenth of a millisecond. Python 3.13 loads one
more of its own."""
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
    # Takes the whole way, in a child that leaves a record.
    first = Process(tmp_path, "-c", COMMAND, words=words)
    try:
        code, _, log = first.end()
    finally:
        first.stop()
    assert code == 0
    assert "strongroom_serve.app" in loaded_in(log)
    assert not {"pydantic", "yaml"} & loaded_in(log)
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
    loaded = loaded_in(log)
    assert {"strongroom_serve.app", "gunicorn_h1c"} <= loaded
    assert loaded & LATER == set()
    assert len(loaded) <= MOST


def loaded_in(log):
    """Return the modules that `COMMAND` says were loaded."""
    lines = [line.split()[1:] for line in log.splitlines() if line.startswith("loaded ")]
    return {name for line in lines for name in line} - {"sitecustomize"}  # Debian's Python has one


def test_a_start_without_a_place_for_records_loads_the_spec_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    write(tmp_path, spec_of(provider={"type": "env"}))
    running = Process(tmp_path, "-c", COMMAND, words=["--listen", "127.0.0.1:0"])
    try:
        code, _, log = running.end()
    finally:
        running.stop()
    assert code == 0
    assert "pydantic" in loaded_in(log)


@pytest.mark.parametrize(
    "before",
    [
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "import os\ndef fork(): raise BlockingIOError\nos.fork = fork",
    ],
    ids=["children are not waited for", "no process is left"],
)
def test_a_first_start_does_without_a_child_that_loads(before, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path, spec_of(provider={"type": "env"}))
    running = Process(tmp_path, "-c", f"{before}\n{COMMAND}", words=["--listen", "127.0.0.1:0"])
    try:
        assert running.line.startswith("listening at ")
        assert running.end()[0] == 0
    finally:
        running.stop()


def test_what_is_wrong_with_a_spec_is_said_once(tmp_path, monkeypatch):
    """Not also by the child that loads it first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STRONGROOM_SPEC", str(tmp_path / "strongroom.yaml"))
    write(tmp_path, spec_of(provider={"type": "env", "prefx": "A_"}))
    words = [sys.executable, "-m", "strongroom", "serve", "--listen", "127.0.0.1:0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("prefx") == 1
