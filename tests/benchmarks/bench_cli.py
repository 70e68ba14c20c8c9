"""Whole processes: `strongroom get` and `run` beside `keyring get` and `dotenvx get`, and an import."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import processor_seconds, row

BIN = Path(sys.executable).parent
ROUNDS = 15
DOTENVX = "@dotenvx/dotenvx@2.38.2"
FLOOR = "import sqlite3; from cryptography.hazmat.primitives.ciphers.aead import AESGCM"
"""What whoever reads an encrypted store of SQLite has to load."""
RICH = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: s.enc, key_file: a.key}
    middleware: [{type: caching, ttl_seconds: 300}, {type: validation, max_length: 4096}]
    hooks: [{type: audit, path: audit.jsonl}]
secrets:
  PASSWORD: {key: a/key, min_length: 4, forbid: [changeme]}
  TOKEN: {key: b/key, groups: [web]}
"""
RESOLVE = "import strongroom; strongroom.SecretProviderRegistry('strongroom.yaml').resolve()"
FORGETFUL = {"XDG_CACHE_HOME": "/dev/null"}
"""Nothing can be remembered there."""


def rows() -> list[dict[str, Any]]:
    """Return the rows; each command is run in turns with its peer."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        environment = {
            "HOME": folder,
            "PATH": f"{BIN}:/usr/bin:/bin",
            "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        }

        def run(*words: str, value: bytes = b"") -> None:
            subprocess.run(
                [str(BIN / words[0]), *words[1:]],
                input=value,
                env=environment,
                check=True,
                capture_output=True,
            )

        run("keyring", "set", "service", "user", value=b"value")
        run("strongroom", "set", "a/key", value=b"value")  # the user's own store
        own, theirs = _turns(environment, "strongroom get a/key", "keyring get service user")
        run("strongroom", "init")
        run("strongroom", "set", "a/key", value=b"value")
        spec, _ = _turns(environment, "strongroom get a/key", "keyring get service user")
        spec_file = Path("strongroom.yaml")
        spec_file.write_text(f"{spec_file.read_text()}\nsecrets: {{KEY: {{key: a/key}}}}\n")
        started, _ = _turns(environment, "strongroom run -- true", "keyring get service user")
        peers = _beside_dotenvx(environment, run)
        Path("many.json").write_text(
            "{" + ", ".join(f'"many/key-{number}": "value-{number}"' for number in range(10_000)) + "}"
        )
        run("strongroom", "import", "many.json")
        many, _ = _turns(environment, "strongroom get many/key-5000", "keyring get service user")
        ours, bare = _turns(environment, "python -c pass", "python -c pass")
        imported, _ = _turns(environment, ["python", "-c", "import strongroom"], "python -c pass")
        return [
            row("strongroom get, own store / keyring get", own, theirs, 0.7),
            row("strongroom get, with a spec / keyring get", spec, theirs, 0.7),
            row("strongroom run -- true / keyring get", started, theirs, 0.7),
            *peers,
            row("strongroom get among 10,000 / among few", many, spec, 1.15),
            row("import strongroom / python -c pass", imported, min(ours, bare), 5),
            *_of_a_rich_spec(environment, run),
        ]


def _of_a_rich_spec(environment: dict[str, str], run: Callable[..., None]) -> list[dict[str, Any]]:
    """Compare whole processes with a spec that has caching, validation, audit and rules with a bare Python.

    The last row is of a spec that was never seen before.
    """
    Path("rich").mkdir()
    os.chdir("rich")
    Path("strongroom.yaml").write_text(RICH)
    Path("strongroom.yaml").chmod(0o644)
    Path("template").write_text("{{ PASSWORD }}\n")
    for key in ("a/key", "b/key"):
        run("strongroom", "set", key, value=b"value")
    commands: dict[str, str | list[str]] = {
        "python -c pass": "python -c pass",
        "sqlite3 and the cipher": ["python", "-c", FLOOR],
        "get": "strongroom get a/key",
        "run -- true": "strongroom run -- true",
        "resolve in Python": ["python", "-c", RESOLVE],
        "check": "strongroom check",
        "list": "strongroom list",
        "export": "strongroom export --format env",
        "render": "strongroom render template",
    }
    taken = dict(zip(commands, _turns(environment, *commands.values()), strict=True))
    bare, floor = taken.pop("python -c pass"), taken.pop("sqlite3 and the cipher")
    limits = {"get": 1.5, "run -- true": 1.5, "resolve in Python": 3.0}
    forgetful, _ = _turns(environment | FORGETFUL, "strongroom get a/key", "python -c pass")
    return [
        row("sqlite3 and the cipher's module, the floor / python -c pass", floor, bare, 4),
        *(
            row(
                f"{name} of a spec with hooks and rules / python -c pass",
                each,
                bare,
                round(floor / bare + limits[name], 1) if name in limits else 8,
            )
            for name, each in taken.items()
        ),
        row("get of a spec that was never seen / python -c pass", forgetful, bare, 16),
    ]


def _beside_dotenvx(environment: dict[str, str], run: Callable[..., None]) -> list[dict[str, Any]]:
    """Compare a get among ten values; npm installs the peer in the temporary folder."""
    npm = shutil.which("npm")
    if npm is None:
        sys.stderr.write("dotenvx is not compared: there is no npm\n")
        return []
    Path("peer").mkdir()
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", "peer", DOTENVX]
    subprocess.run(install, check=True, capture_output=True)
    program = str(Path("peer/node_modules/.bin/dotenvx").resolve())
    Path("peer/.env").write_text("".join(f"KEY_{number}=value-{number}\n" for number in range(10)))
    subprocess.run([program, "encrypt"], cwd="peer", check=True, capture_output=True)
    for number in range(10):
        run("strongroom", "set", f"ten/key-{number}", value=b"value")
    own, theirs = _turns(
        environment | {"PATH": os.environ["PATH"]},
        "strongroom get ten/key-5",
        [program, "get", "KEY_5", "-f", "peer/.env"],
    )
    return [row("strongroom get among ten / dotenvx get among ten", own, theirs, 0.4)]


def _turns(environment: dict[str, str], *commands: str | list[str]) -> list[float]:
    words = [command.split() if isinstance(command, str) else command for command in commands]
    lines = [[str(BIN / one[0]), *one[1:]] for one in words]
    taken: list[list[float]] = [[] for _ in lines]
    for line in lines:  # once for what later calls find in place
        processor_seconds(line, environment)
    for _ in range(ROUNDS):
        for at, line in enumerate(lines):
            taken[at].append(processor_seconds(line, environment))
    return [statistics.median(one) for one in taken]
