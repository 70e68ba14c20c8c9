"""Leases of a real OpenBao: roles of a real PostgreSQL, users of a real Valkey, certificates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.leases import LeaseLedger
from strongroom_vault import VaultLeaseProvider

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode keeps test folders off the path

from lease_servers import LeaseServers


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    running = LeaseServers(tmp_path_factory.mktemp("bao"))
    running.role("app", 600, 3600)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def spec(servers, **options):
    provider = {"type": "vault.leases", "url": servers.bao.url, "token": servers.bao.token, **options}
    return {"version": 1, "pipelines": {"db": {"provider": provider, "middleware": [{"type": "caching"}]}}}


def provider_of(servers, **options):
    given = {"token": servers.bao.token, **options}
    return VaultLeaseProvider(servers.bao.url, **given)


def test_a_role_is_made_used_renewed_and_revoked(servers):
    """The password of a live lease logs in, one role serves all threads, and nothing is left behind."""
    with SecretProviderRegistry(spec(servers)) as registry:
        found = set()
        threads = [threading.Thread(target=lambda: found.add(registry.get_secret("app"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        [text] = found
        values = json.loads(text)
        assert servers.users() == [values["username"]]
        with servers.postgres.login(values["username"], values["password"]) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (values["username"],)
        assert registry.get_field("app", "username") == values["username"]
        assert registry.list_secrets() == ["app"]
        with pytest.raises(SecretNotFoundError):
            registry.get_secret("unknown")
        with pytest.raises(UnsupportedOperationError):
            registry.set_secret("app", "x")
        assert len(servers.leases("app")) == 1
    assert servers.users() == []
    with pytest.raises(psycopg.OperationalError):
        servers.postgres.login(values["username"], values["password"])


def test_renewal_gives_what_is_left_of_the_greatest_age(servers):
    """A lease that the server does not know, or that was revoked, is not found."""
    servers.role("short", 60, 90)
    provider = provider_of(servers)
    lease = provider.issue_lease("short")
    assert lease.renewable
    assert timedelta(seconds=50) < lease.expires_at - datetime.now(UTC) <= timedelta(seconds=61)
    renewed = provider.renew_lease(lease)
    assert renewed.values == lease.values
    assert renewed.expires_at >= lease.expires_at
    provider.revoke_lease(lease)
    provider.revoke_lease(lease)
    with pytest.raises(SecretNotFoundError):
        provider.renew_lease(lease)
    provider.close()


def test_a_lease_does_not_outlive_the_token_that_it_was_issued_under(servers):
    """Although the server says so."""
    provider = provider_of(servers, token=servers.token(ttl="100s", explicit_max_ttl="100s"))
    lease = provider.issue_lease("app")
    assert lease.expires_at - datetime.now(UTC) <= timedelta(seconds=100)
    provider.revoke_lease(lease)
    provider.close()


def test_who_may_not_issue_is_told_apart_from_who_is_not_logged_in(servers):
    """As of every read."""
    powerless = servers.token(policies=["default"])
    with provider_of(servers, token=powerless) as denied, pytest.raises(PermissionDeniedError):
        denied.get_secret("app")
    with provider_of(servers, token="wrong") as unknown, pytest.raises(AuthenticationError):
        unknown.get_secret("app")
    with (
        VaultLeaseProvider("http://127.0.0.1:9", "x", timeout=2) as down,
        pytest.raises(BackendUnavailableError),
    ):
        down.get_secret("app")


def test_certificates_come_with_their_chain_and_end_by_themselves(servers):
    """With a POST of what the role is asked with; there is no lease to revoke."""
    servers.call("POST", "sys/mounts/pki", type="pki", config={"max_lease_ttl": "48h"})
    servers.call("POST", "pki/root/generate/internal", common_name="test", ttl="47h")
    servers.call("POST", "pki/roles/web", allow_any_name=True, ttl="1h")
    options = {"mount_point": "pki", "path": "issue", "parameters": {"web": {"common_name": "web.test"}}}
    with SecretProviderRegistry(spec(servers, **options)) as registry:
        lease = registry.lease("web")
        assert lease.values["certificate"].startswith("-----BEGIN CERTIFICATE-----")
        assert lease.values["ca_chain"].startswith("-----BEGIN CERTIFICATE-----")
        assert lease.values["private_key"].startswith("-----BEGIN")
        assert lease.values["expiration"].isdigit()
        assert lease.expires_at == datetime.fromtimestamp(int(lease.values["expiration"]), UTC)
        assert LeaseLedger().files() == []
        assert registry.list_secrets() == ["web"]


def test_a_killed_process_leaves_its_lease_in_the_ledger(servers, tmp_path):
    """Dead processes are told apart from living ones by a lock."""
    code = (
        "import json, os, signal, sys; from strongroom import SecretProviderRegistry\n"
        "registry = SecretProviderRegistry(json.loads(sys.argv[1])); registry.get_secret('app')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with SecretProviderRegistry(spec(servers)) as registry:
        registry.get_secret("app")
        ended = subprocess.run([sys.executable, "-c", code, json.dumps(spec(servers))], check=False)
        assert ended.returncode == -signal.SIGKILL
        files = LeaseLedger().files()
        assert sorted(file.alive() for file in files) == [False, True]
        [dead] = [file for file in files if not file.alive()]
        [entry] = dead.entries()
        assert entry.pid != os.getpid()
        provider_of(servers).revoke_lease(entry.as_lease())
        assert len(servers.users()) == 1


def test_a_process_that_ends_normally_revokes_its_leases(servers):
    """Without a close."""
    code = (
        "import json, sys; from strongroom import SecretProviderRegistry\n"
        "registry = SecretProviderRegistry(json.loads(sys.argv[1])); print(registry.get_field('app', 'username'))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, json.dumps(spec(servers))], check=True, capture_output=True, text=True
    )
    assert ended.stdout.startswith("v-")
    assert ended.stderr == ""
    assert servers.users() == []
