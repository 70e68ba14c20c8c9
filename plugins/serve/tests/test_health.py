"""`/healthz`: 503 while the server would answer no secret, and why only to those who have a token."""

from __future__ import annotations

import shutil

import pytest
from pages import BOSS
from served import ADMIN, spec_of
from strongroom.backends import MemorySecretProvider
from strongroom.registry import SecretProviderRegistry
from strongroom_serve.doctor import findings
from strongroom_serve.health import Health

BOSS_CLIENT = {"name": "boss", "token": BOSS, "admin": True}


class Looked:
    """A server with a trail in the folder `trail`, and what it says of itself at each moment."""

    def __init__(self, served, folder, **audit):
        self.trail = folder / "trail"
        self.trail.mkdir()
        hook = {"type": "audit", "path": str(self.trail / "audit.jsonl"), **audit}
        self.spec = {**spec_of(BOSS_CLIENT, ui=True, socket=str(folder / "s")), "hooks": [hook]}
        self.server = served(self.spec, unix=folder / "s")
        self.now = 0.0
        self.server.app.health = Health(self.server.backend, lambda: self.now)

    def health(self, path="/healthz", token=None):
        return self.server.ask("GET", path, token=token)

    def passes(self, seconds):
        self.now += seconds


def test_a_trail_that_cannot_be_written_is_said_by_health_pages_counts_and_doctor(served, tmp_path):
    looked = Looked(served, tmp_path)
    server = looked.server
    assert server.get("k").status == 404
    assert looked.health().status == 200
    shutil.rmtree(looked.trail)
    assert server.get("k").status == 500
    assert looked.health().status == 200  # it looks every ten seconds
    looked.passes(11)

    assert (looked.health().status, looked.health().json()) == (503, {"ok": False})
    told = looked.health(token=ADMIN).json()["pipelines"]["app"]
    assert told.startswith("AuditError: cannot make ")
    assert looked.health("/v1/sys/health").status == 503
    assert "AuditError: cannot make " in server.ask("GET", "/ui/", token=BOSS).body.decode()
    assert "strongroom_audit_failures_total 2" in server.ask("GET", "/metrics").body.decode()
    with SecretProviderRegistry(looked.spec) as registry:
        problems = [problem for _, ok, problem, _ in findings(registry) if ok is False]
    assert problems == ["a server runs there, and a backend or an audit trail of it is not available"]

    looked.trail.mkdir()
    looked.passes(11)
    assert looked.health(token=ADMIN).json()["pipelines"] == {"app": "ok"}
    assert looked.health().status == 200
    assert server.get("k").status == 404


def test_a_look_adds_no_line_to_the_trail(served, tmp_path):
    looked = Looked(served, tmp_path)
    looked.server.get("k")
    before = (looked.trail / "audit.jsonl").read_bytes()
    looked.passes(11)
    assert looked.health().status == 200
    assert (looked.trail / "audit.jsonl").read_bytes() == before


@pytest.mark.parametrize("audit", [{"fail_closed": False}, {"log_reads": False, "fail_closed": False}])
def test_a_trail_that_need_not_be_written_ends_no_answers(served, tmp_path, audit):
    looked = Looked(served, tmp_path, **audit)
    shutil.rmtree(looked.trail)
    assert looked.server.get("k").status == 404
    assert looked.health().status == 200


def test_a_plugin_that_exits_ends_no_server(served, monkeypatch):
    """`sys.exit` on a thread reached the event loop."""

    def exits(*_):
        raise SystemExit("hunter2")

    monkeypatch.setattr(MemorySecretProvider, "list_secrets", exits)
    monkeypatch.setattr(MemorySecretProvider, "get_secret", exits)
    server = served()
    for _ in range(2):
        for path in ("/v1/secret/data/k", "/v1/secret/metadata/?list=true"):
            reply = server.ask("GET", path)
            assert reply.status == 500
            assert b"hunter2" not in reply.body
        assert server.ask("GET", "/healthz", token=None).status == 503
