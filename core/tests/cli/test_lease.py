"""`strongroom lease` on a ledger of which parts cannot be read."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from strongroom import Lease, SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.cli.actions.overview import Overview
from strongroom.cli.app import run_app
from strongroom.cli.context import GlobalOptions
from strongroom.leases import LeaseLedger, ProcessLedger
from strongroom.leases import ledger as ledger_module


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return what runs the command on a spec, and returns its code, what it answers, and what it warns of."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "strongroom.yaml"
    path.write_text("version: 1\npipelines: {app: {provider: {type: memory}}}\n")
    path.chmod(0o600)

    def run(*words):
        code = run_app(["--spec", str(path), "--json", "lease", *words])
        done = capsys.readouterr()
        return code, json.loads(done.out), done.err

    return run


@pytest.fixture
def left(command, tmp_path):
    """Note a lease down, and leave it as a process that dies does; return its file."""
    now = datetime.now(UTC)
    lease = Lease("id", "creds/app", {}, now, now + timedelta(hours=1), True)
    ProcessLedger(str(tmp_path / "strongroom.yaml")).issued(lease, None, "app")
    for own in ledger_module._files.values():
        os.close(own.descriptor)
    ledger_module._files.clear()
    [file] = LeaseLedger().files()
    return file.path


def test_what_was_noted_under_another_key_is_kept_and_told(command, left):
    """The leases may live: nothing may say that there are none."""
    key = left.with_name("ledger.key")
    key.rename(key.with_name("away"))
    code, answer, told = command("sweep")
    assert (code, answer) == (5, {"revoked": [], "failed": [], "left": []})
    assert str(left) in told
    code, answer, told = command("list")
    assert (code, answer) == (0, {"leases": []})
    assert str(left) in told
    key.with_name("away").rename(key)
    code, answer, told = command("sweep")
    assert (code, [one["id"] for one in answer["left"]], told) == (0, ["id"], "")


def test_the_beginning_of_a_line_is_nobody_s_worry(command, left):
    """A crash cuts one short before its lease is handed out."""
    left.write_bytes(left.read_bytes()[:100])
    assert command("sweep") == (0, {"revoked": [], "failed": [], "left": []}, "")
    assert not left.exists()


class Issuing(MemorySecretProvider):
    """Counts the leases that it issues."""

    issued = 0

    def issue_lease(self, key):
        self.issued += 1
        now = datetime.now(UTC)
        return Lease(f"id-{self.issued}", key, {"password": "x" * 9}, now, now + timedelta(hours=1), True)

    def renew_lease(self, lease):
        return lease

    def revoke_lease(self, lease):
        pass


def test_the_pages_of_serve_issue_no_lease(monkeypatch, tmp_path):
    """It would be renewed as long as the server runs, with nobody who uses it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    secrets = {
        "URL": {"compose": "db://{{ LOGIN }}"},
        "LOGIN": {"key": "db/app", "field": "password"},
        "A": {},
    }
    spec = {"version": 1, "pipelines": {"p": {"provider": {"type": "memory"}}}, "secrets": secrets}
    with SecretProviderRegistry(spec) as registry:
        registry.register("db", provider := Issuing(), prefix="db/")
        rows = Overview(GlobalOptions()).secrets(registry)
        assert [(one["name"], one["status"]) for one in rows] == [
            ("URL", "ok"),
            ("LOGIN", "ok"),
            ("A", "missing"),
        ]
        assert "a lease" in rows[0]["problem"]
        assert provider.issued == 0
        assert registry.get_field("db/app", "password") == "x" * 9
    assert provider.issued == 1
