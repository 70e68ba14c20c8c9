"""Whole processes that resolve 30 secrets of a real OpenBao, beside a bare Python and secretspec's SDK."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trustme
from timing import processor_seconds, row

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "vault" / "tests"))

from bao_server import BaoServer  # the plugin's tests run it too

_ROUNDS, _SECRETS = 11, 30
_PLACE = "secretspec/shop/default"
"""Where secretspec looks for those of a project `shop`."""
_PEER = "secretspec==0.21.1"
_NAMES = [f"SECRET_{number}" for number in range(_SECRETS)]
_OURS = """\
import strongroom
found = strongroom.SecretProviderRegistry("strongroom.yaml").resolve()
assert len(found) == 30
"""
_THEIRS = """\
import sys
from secretspec import SecretSpec
loaded = SecretSpec.builder().with_path("secretspec.toml").with_provider(sys.argv[1]).with_reason("bench").load()
assert len(loaded.fields()) == 30
"""
_SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: vault, url: %s, %s}
    middleware: [{type: caching, ttl_seconds: 300}, {type: validation, max_length: 4096}]
    hooks: [{type: audit, path: audit.jsonl}]
secrets:
"""


def rows() -> list[dict[str, Any]]:
    """Return the rows; all processes are run in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = _with_peer(folder)
        ca = trustme.CA()
        made = ca.issue_cert("127.0.0.1")
        ca.cert_pem.write_to_path(folder / "ca.pem")
        made.private_key_pem.write_to_path(folder / "server.key")
        made.cert_chain_pems[0].write_to_path(folder / "server.pem")
        listener = f'tls_cert_file = "{folder}/server.pem"\n  tls_key_file = "{folder}/server.key"'
        servers = []
        try:
            for more in ({}, {"listener": listener, "ca": folder / "ca.pem"}):
                at = folder / f"server-{len(servers)}"
                at.mkdir()
                servers.append(BaoServer(at, **more))
            return _measured(folder, python, *servers)
        finally:
            for server in servers:
                server.stop()


def _measured(folder: Path, python: str, plain: BaoServer, tls: BaoServer) -> list[dict[str, Any]]:
    for server in (plain, tls):
        server.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        for name in _NAMES:
            server.client.secrets.kv.v2.create_or_update_secret(f"{_PLACE}/{name}", {"value": f"of {name}"})
    login = _role(plain)
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "token": _of_spec(folder / "token", plain.url, f"token: {plain.token}"),
        "AppRole": _of_spec(folder / "approle", plain.url, f"auth: {login}"),
        "TLS": _of_spec(folder / "tls", tls.url, f"token: {tls.token}, verify: {folder / 'ca.pem'}"),
        "secretspec": _of_secretspec(folder, python, plain),
    }
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "VAULT_TOKEN": plain.token}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(2):  # once for what later processes find in place, and once with it
        for command in commands.values():
            processor_seconds(command, environment)
    for _ in range(_ROUNDS):
        for name, command in commands.items():
            taken[name].append(processor_seconds(command, environment))
    bare, token, approle, encrypted, theirs = (statistics.median(one) for one in taken.values())
    what = f"resolve of {_SECRETS} secrets of OpenBao"
    return [
        row(f"{what}, by a token / python -c pass", token, bare, 8),
        row(f"{what}, by AppRole / python -c pass", approle, bare, 8),
        row(f"{what}, over TLS / python -c pass", encrypted, bare, 12),
        row(f"{what} / secretspec's SDK", token, theirs, 1.7),
    ]


def _with_peer(folder: Path) -> str:
    """Return the interpreter of an environment that has secretspec and nothing else."""
    uv, python = Path(sys.executable).parent / "uv", folder / "venv" / "bin" / "python"
    subprocess.run([str(uv), "venv", "-q", "-p", sys.executable, str(folder / "venv")], check=True)
    subprocess.run([str(uv), "pip", "install", "-q", "--python", str(python), _PEER], check=True)
    return str(python)


def _role(server: BaoServer) -> str:
    server.client.sys.enable_auth_method("approle")
    server.client.sys.create_or_update_policy("reader", 'path "secret/*" { capabilities = ["read"] }')
    server.client.auth.approle.create_or_update_approle("app", token_policies=["reader"])
    role_id = server.client.auth.approle.read_role_id("app")["data"]["role_id"]
    secret_id = server.client.auth.approle.generate_secret_id("app")["data"]["secret_id"]
    return f"{{method: approle, role_id: {role_id}, secret_id: {secret_id}}}"


def _of_spec(folder: Path, url: str, login: str) -> list[str]:
    folder.mkdir()
    spec = folder / "strongroom.yaml"
    spec.write_text(_SPEC % (url, login) + "".join(f"  {one}: {{key: {_PLACE}/{one}}}\n" for one in _NAMES))
    spec.chmod(0o600)
    return [sys.executable, "-c", f"import os; os.chdir({str(folder)!r})\n{_OURS}"]


def _of_secretspec(folder: Path, python: str, server: BaoServer) -> list[str]:
    head = '[project]\nname = "shop"\nrevision = "1.0"\n\n[profiles.default]\n'
    lines = "".join(f'{one} = {{ description = "one of many" }}\n' for one in _NAMES)
    (folder / "secretspec.toml").write_text(head + lines)
    uri = f"vault://127.0.0.1:{server.port}/secret?tls=false"
    return [python, "-c", f"import os; os.chdir({str(folder)!r})\n{_THEIRS}", uri]
