"""Pools that follow short leases under load: over restarts of the server, and the end of its tokens."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode keeps test folders off the path

from lease_servers import LeaseServers

TTL, MOST = 4, 8
OUTAGE_SECONDS = 3

WORKER = """
import json, sys, threading, time
from sqlalchemy import create_engine, text
from psycopg_pool import ConnectionPool
from strongroom import SecretProviderRegistry
from strongroom.integrations import psycopg as of_psycopg, sqlalchemy as of_sqlalchemy

spec, port, seconds, role = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
registry = SecretProviderRegistry(spec)
engine = create_engine(f"postgresql+psycopg://127.0.0.1:{port}/postgres", pool_size=2, max_overflow=2)
of_sqlalchemy.follow(engine, registry, role)
pool = ConnectionPool(f"host=127.0.0.1 port={port} dbname=postgres", min_size=1, max_size=3, open=False)
of_psycopg.follow(pool, registry, role)
pool.open()
pool.wait(60)
print("ready", flush=True)
done, failed, users, lives = [0], [], set(), {}
end = time.monotonic() + seconds

def with_engine():
    with engine.connect() as connection:
        users.add(connection.scalar(text("SELECT current_user")))

def with_pool():
    with pool.connection() as connection:
        users.add(connection.execute("SELECT current_user").fetchone()[0])

def work(query):
    while time.monotonic() < end:
        started = time.time()
        try:
            query()
            done[0] += 1
        except Exception as error:
            failed.append((started, time.time(), f"{query.__name__}: {type(error).__name__}: {error}"[:300]))
        time.sleep(0.005)

def look():
    leases = registry.pipeline("db").inner.leases
    while time.monotonic() < end:
        for lease in leases.current().values():
            lives.setdefault(lease.id, [time.time(), 0])[1] = lease.expires_at.timestamp()
        time.sleep(0.01)

threads = [threading.Thread(target=work, args=(query,)) for query in (with_engine, with_pool) * 2]
threads.append(threading.Thread(target=look))
[thread.start() for thread in threads]
[thread.join() for thread in threads]
pool.close(); engine.dispose()
print(json.dumps({"done": done[0], "failed": failed, "users": sorted(users), "lives": list(lives.values())}))
"""


class Load:
    """Four processes of four threads, half of them of SQLAlchemy and half of psycopg_pool."""

    def __init__(self, folder, seconds):
        self.servers = LeaseServers(folder, storage="raft")
        self.servers.role("busy", TTL, MOST)
        self.seconds = seconds
        self.revoked = []
        call = self.servers.call
        call("POST", "sys/auth/approle", type="approle")
        policies = [self.servers.policy()]
        call("POST", "auth/approle/role/app", token_policies=policies, token_ttl="10m", secret_id_num_uses=0)
        role_id = call("GET", "auth/approle/role/app/role-id")["data"]["role_id"]
        secret_id = call("POST", "auth/approle/role/app/secret-id")["data"]["secret_id"]
        auth = {"method": "approle", "role_id": role_id, "secret_id": secret_id}
        provider = {"type": "vault.leases", "url": self.servers.bao.url, "auth": auth, "timeout": 2}
        spec = json.dumps({"version": 1, "pipelines": {"db": {"provider": provider}}})
        command = [sys.executable, "-c", WORKER, spec, str(self.servers.postgres.port), str(seconds), "busy"]
        self.workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(4)
        ]
        for one in self.workers:
            assert one.stdout.readline() == "ready\n"

    def restart(self):
        bao = self.servers.bao
        bao.stop()
        time.sleep(OUTAGE_SECONDS)
        bao.start()
        bao.unseal()

    def end_tokens(self):
        """Revoke the tokens of all who have logged in, and with them what was issued under them."""
        call, started = self.servers.call, time.time()
        for accessor in call("LIST", "auth/token/accessors")["data"]["keys"]:
            try:
                token = call("POST", "auth/token/lookup-accessor", accessor=accessor)["data"]
            except Exception:  # it has ended by itself
                continue
            if token["path"] == "auth/approle/login":
                call("POST", "auth/token/revoke-accessor", accessor=accessor)
        self.revoked.append((started, time.time()))

    def results(self):
        return [json.loads(one.communicate(timeout=self.seconds + 60)[0]) for one in self.workers]

    def stop(self):
        for one in self.workers:
            if one.poll() is None:
                one.kill()
            one.communicate()
        self.servers.stop()

    def needless(self, result):
        """Return the failures of one process for which it had a lease that the server would have taken."""
        return [
            [f"{start:.2f}-{end:.2f}", words]
            for start, end, words in result["failed"]
            if any(
                issued <= start
                and end < ended
                and not any(issued <= cut and first <= end for first, cut in self.revoked)
                for issued, ended in result["lives"]
            )
        ]


@pytest.mark.torture
@pytest.mark.parametrize("disturbed", [False, True])
def test_no_query_fails_that_a_living_lease_could_have_answered(tmp_path, disturbed):
    """For a minute; also over three restarts of the server, and the end of the tokens that all have logged in with."""
    seconds = float(os.environ.get("FOLLOW_SECONDS", "60"))
    load = Load(tmp_path, seconds)
    try:
        if disturbed:
            for act in (load.restart, load.end_tokens, load.restart, load.restart):
                time.sleep(max(seconds / 5 - OUTAGE_SECONDS, 0))  # between them all is well
                act()
        results = load.results()
        for result in results:
            assert load.needless(result) == []
            assert result["failed"] == [] or disturbed, result["failed"][:3]
            assert result["done"] > seconds
            assert len(result["users"]) <= 1.3 * (seconds / MOST + 1) + 4 * disturbed
    finally:
        load.stop()


MORTAL = """
import json, sys, threading, time
from strongroom import SecretProviderRegistry
registry = SecretProviderRegistry(sys.argv[1])
threads = [threading.Thread(target=registry.get_secret, args=(key,)) for key in ("one", "two")]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.torture
def test_after_fifty_kills_a_sweep_leaves_no_lease_on_the_server(tmp_path, monkeypatch):
    """Each of two roles, at moments that spread over a renewal or a replacement; a living process keeps its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "bao"
    folder.mkdir()
    servers = LeaseServers(folder)
    chance = random.Random(19)
    spec = tmp_path / "strongroom.yaml"
    provider = {"type": "vault.leases", "url": servers.bao.url, "token": servers.bao.token}
    spec.write_text(json.dumps({"version": 1, "pipelines": {"db": {"provider": provider}}}))
    command = [sys.executable, "-c", MORTAL, str(spec)]
    sweep = [Path(sys.executable).parent / "strongroom", "--spec", spec, "lease", "sweep"]
    running = []
    try:
        servers.role("one", 6, 3600)
        servers.role("two", 600, 3600)
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for _ in range(10):
            dying = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
            running += dying
            for one in dying:
                assert one.stdout.readline() == "ready\n"
            for one in dying:
                time.sleep(chance.random())  # the moment is the test
                one.kill()
                one.wait()
        assert running[0].stdout.readline() == "ready\n"
        assert subprocess.run(sweep, check=False).returncode == 0
        assert (len(servers.leases("one")), len(servers.leases("two"))) == (1, 1)
        running[0].kill()
        running[0].wait()
        assert subprocess.run(sweep, check=False).returncode == 0
        assert (servers.leases("one"), servers.leases("two"), servers.users()) == ([], [], [])
    finally:
        for one in running:
            one.kill()
            one.communicate()
        servers.stop()
