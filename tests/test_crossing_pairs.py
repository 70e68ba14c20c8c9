"""Where two or three pieces meet that each have tests of their own: with another process, and on the real thing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import warm_command
from strongroom import Lease, SecretProviderRegistry, SecretRotation, TenantContext, generate_key
from strongroom.aio import AsyncSecretRegistry
from strongroom.audit import AuditLoggingHook, verify_audit_log
from strongroom.cache.memory_store import MemoryCacheStore
from strongroom.errors import ConflictError, RotationError
from strongroom.leases import LeasingProvider
from strongroom.middleware import CachingMiddleware, TenantMiddleware
from strongroom.testing.conformance.forks import Children
from strongroom_memory import MemorySecretProvider

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "serve" / "tests"))

from served import Served, spec_of  # as above

TENANTS = ("acme", "umbra")


def until(holds):
    """Wait for what another thread or process does."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def caching(folder, key):
    """Return a cache with a second level that processes share."""
    return {
        "type": "caching",
        "ttl_seconds": 3600,
        "l2_ttl_seconds": 3600,
        "l2": {"type": "file.cache", "path": str(folder / "cache.db"), "timeout_seconds": 30},
        "l2_timeout_seconds": 30,
        "encryption": {"type": "aes-gcm", "key": key},
    }


def shared(folder, *, tenants=True):
    """Return a spec of a store in a file, below tenants and a cache that processes share."""
    key = generate_key()
    provider = {"type": "file", "file_path": str(folder / "secrets.enc"), "encryption_key": key}
    middleware = [{"type": "tenant"}] * tenants + [caching(folder, key)]
    return {
        "version": 1,
        "pipelines": {"app": {"provider": provider, "middleware": middleware}},
        "default": "app",
    }


def in_a_child(work):
    """Do `work` in a forked process that has a registry of its own."""
    assert Children(1, lambda _: work()).results() == [None]


# --- leases, forks, tenants ---


class Leases(LeasingProvider):
    """Issues leases that say whose they are, and writes down in a file who did what with each."""

    type_name = "leases"

    def __init__(self, log):
        self.log, self.issued = log, 0

    def note(self, what, lease_id):
        with self.log.open("a") as file:
            file.write(f"{json.dumps([what, os.getpid(), lease_id])}\n")

    def issue_lease(self, key):
        self.issued += 1
        lease_id = f"{key}|{os.getpid()}|{self.issued}"
        self.note("issue", lease_id)
        now = datetime.now(UTC)
        return Lease(lease_id, key, {"id": lease_id, "more": "x"}, now, now + timedelta(hours=1), True)

    def renew_lease(self, lease):
        self.note("renew", lease.id)
        return lease

    def revoke_lease(self, lease):
        self.note("revoke", lease.id)


def read_leases(registry, times):
    """Read one of each tenant so often; return those that are another's or another process's."""
    wrong = []
    for _ in range(times):
        for tenant in TENANTS:
            with TenantContext(tenant):
                key, process, _ = registry.get_field("db/x", "id").split("|")
            if (key, process) != (f"tenants/{tenant}/db/x", str(os.getpid())):
                wrong.append([tenant, key, process])
    return wrong


def test_children_of_two_tenants_have_leases_of_their_own_and_revoke_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    log, wrong, stop, begun = tmp_path / "log", [], threading.Event(), threading.Semaphore(0)
    with SecretProviderRegistry(spec_of()) as registry:
        registry.register("leases", TenantMiddleware(Leases(log)), prefix="db")

        def go_on():
            while not stop.is_set():
                wrong.extend(read_leases(registry, 1))
                begun.release()

        def child(number):
            found = read_leases(registry, 5)
            if number % 2:
                registry.close()
            return found

        threads = [threading.Thread(target=go_on, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert begun.acquire(timeout=300)
        assert Children(4, child).results() == [[]] * 4
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event for event in events if int(event[2].split("|")[1]) != event[1]] == []
    issued, revoked = ({event[2] for event in events if event[0] == what} for what in ("issue", "revoke"))
    assert len(issued) == 2 * 5  # one a tenant and process
    assert len(revoked) == 2 * 3  # the parent's, and of the two children that close


# --- watches, tenants, the second level, forks ---


def test_watches_of_two_tenants_hear_another_process_past_the_second_level(tmp_path):
    spec, seen, wrong = shared(tmp_path), {tenant: [] for tenant in TENANTS}, []

    def written(number):
        with SecretProviderRegistry(spec) as other:
            for tenant in TENANTS:
                with TenantContext(tenant):
                    other.set_secret("k", f"{tenant} {number}")

    with SecretProviderRegistry(spec) as registry:

        def watched(tenant):
            def changed(_):
                value = registry.get_secret("k")
                seen[tenant].append(value)
                if not value.startswith(f"{tenant} "):
                    wrong.append((tenant, value))

            return registry.watch("k", changed, poll_seconds=0.05)

        def hears(number):
            return all(seen[tenant][-1:] == [f"{tenant} {number}"] for tenant in TENANTS)

        written(0)
        for tenant in TENANTS:
            with TenantContext(tenant):
                assert registry.get_secret("k") == f"{tenant} 0"
                watched(tenant)
        for number in (1, 2):
            in_a_child(lambda number=number: written(number))
            until(lambda number=number: hears(number))

        def child(_):
            with TenantContext("acme"):
                registry.get_secret("k")  # from its first use on its watches go on
            until(lambda: hears(3))
            return wrong

        assert Children(2, child).results(meanwhile=lambda: written(3)) == [[], []]
        until(lambda: hears(3))
    assert wrong == []


# --- the server, a rotation in flight, the second level ---


def test_clients_of_the_server_get_what_a_rotation_elsewhere_lets_readers_have(tmp_path):
    key = generate_key()
    provider = {"type": "file", "file_path": str(tmp_path / "s.enc"), "encryption_key": key}
    spec = spec_of(provider=provider, middleware=[caching(tmp_path, key)])
    server, good, during = Served(spec), [True], []

    def value():
        return server.get("db/p").data["data"]["value"]

    def verify(*_):
        during.append(value())
        return good[0]

    try:
        with SecretProviderRegistry(spec) as elsewhere:
            server.put("db/p", "old")
            rotation = SecretRotation(elsewhere, apply=lambda *_: None, verify=verify, grace_seconds=600)
            rotation.rotate("db/p", "new")
            until(lambda: value() == "new")
            number = server.get("db/p").data["metadata"]["version"]
            good[0] = False
            with pytest.raises(RotationError):
                rotation.rotate("db/p", "newer")
            assert during == ["old", "new"]
            assert value() == "new"
            assert server.put("db/p", "mine", cas=number).status == 200  # nothing of what is pending counts
            good[0] = True
            with pytest.raises(ConflictError):
                rotation.resume("db/p")
            rotation.rollback("db/p")
            assert value() == "mine"
            rotation.rotate("db/p", "last")
            until(lambda: value() == "last")
            number = server.get("db/p").data["metadata"]["version"]
            rotation.rollback("db/p")
            until(lambda: value() == "mine")
            assert server.put("db/p", "x", cas=number).status == 400
            assert value() == "mine"
    finally:
        server.stop()


# --- rekey, restore, a process that runs, the second level ---


def test_a_process_that_runs_lives_through_a_new_key_of_store_and_second_level(tmp_path, warm_strongroom):
    """Both are under the one key file, which `rekey --all` replaces."""
    (tmp_path / "app.key").write_text(generate_key())
    (tmp_path / "app.key").chmod(0o600)
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\n"
        "pipelines:\n"
        "  app:\n"
        "    provider: {type: file, file_path: secrets.enc, key_file: app.key}\n"
        "    middleware:\n"
        "      - type: caching\n"
        "        ttl_seconds: 0.01\n"
        "        l2: {type: file.cache, path: cache.db, timeout_seconds: 30}\n"
        "        l2_timeout_seconds: 30\n"
        '        encryption: {type: aes-gcm, key: "${file:app.key}"}\n'
    )
    spec.chmod(0o600)

    def command(*words, given=""):
        done = warm_command.run([warm_strongroom, "--spec", str(spec), *words], input=given, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wrong, stop, begun = [], threading.Event(), threading.Event()
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("a", "0")

        def go_on():
            while not stop.is_set():
                try:
                    if registry.get_secret("a") not in {"0", "1"}:
                        wrong.append("another value")
                except Exception as error:
                    wrong.append(f"{type(error).__name__}: {error}")
                begun.set()

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        assert begun.wait(300)
        command("rekey", "--all")
        registry.set_secret("b", "by the one that runs")
        assert command("get", "b") == "by the one that runs"
        command("set", "a", given="1")
        until(lambda: registry.get_secret("a") == "1")
        stop.set()
        thread.join()
    assert wrong == []


def test_a_backup_that_is_restored_reaches_every_tenant_of_a_process_that_runs(tmp_path, warm_strongroom):
    spec, file = shared(tmp_path), tmp_path / "strongroom.yaml"
    file.write_text(json.dumps(spec))
    file.chmod(0o600)
    with SecretProviderRegistry(spec) as registry:

        def written(number):
            for tenant in TENANTS:
                with TenantContext(tenant):
                    registry.set_secret("k", f"{tenant} {number}")

        def seen():
            found = []
            for tenant in TENANTS:
                with TenantContext(tenant):
                    found.append(registry.get_secret("k"))
            return found

        written(0)
        for words in (["backup", "b.bak"], ["restore", "b.bak"]):
            done = warm_command.run(
                [warm_strongroom, "--spec", str(file), *words, "--all-tenants"], input="", cwd=tmp_path
            )
            assert done.returncode == 0, done.stderr
            if words[0] == "backup":
                written(1)
                assert seen() == ["acme 1", "umbra 1"]
        until(lambda: seen() == ["acme 0", "umbra 0"])


# --- one fetch, cancelled tasks, forks ---


class Held(MemorySecretProvider):
    """Gives nothing before it is let go."""

    def __init__(self, **secrets):
        super().__init__(secrets=secrets)
        self.asked, self.go = threading.Semaphore(0), threading.Event()
        self.fetches = 0

    def get_secret(self, key):
        self.fetches += 1
        self.asked.release()
        assert self.go.wait(300)
        return super().get_secret(key)


@pytest.mark.parametrize("store", [None, MemoryCacheStore], ids=["one level", "two levels"])
def test_tasks_that_are_cancelled_take_no_value_from_others_nor_from_children(store):
    held = Held(a="value of a")
    with SecretProviderRegistry(spec_of()) as registry:
        registry.register(
            "held", CachingMiddleware(held, **({} if store is None else {"l2": store()})), prefix="a"
        )
        awaited = AsyncSecretRegistry(registry)

        def child(_):
            held.go.set()
            return [asyncio.run(awaited.get_secret("a")), registry.get_secret("a")]

        async def main():
            tasks = [asyncio.create_task(awaited.get_secret("a")) for _ in range(6)]
            await asyncio.to_thread(held.asked.acquire)
            tasks[0].cancel()
            tasks[3].cancel()
            children = await asyncio.to_thread(lambda: Children(2, child).results())
            held.go.set()
            return children, await asyncio.gather(*tasks, return_exceptions=True)

        children, found = asyncio.run(main())
    assert children == [["value of a"] * 2] * 2
    assert [found[number] for number in (1, 2, 4, 5)] == ["value of a"] * 4
    assert all(isinstance(found[number], asyncio.CancelledError) for number in (0, 3))
    assert held.fetches == 1


# --- the audit trail, forks, log rotation, tenants, tasks ---


def test_pieces_of_a_log_that_is_renamed_while_children_write_are_one_chain(tmp_path):
    log, counts, stop = tmp_path / "audit.jsonl", [0], threading.Event()
    pieces = [tmp_path / f"audit.jsonl.{number}" for number in range(4)]
    with SecretProviderRegistry(spec_of()) as registry:
        registry.set_secret("a", "1")
        registry.add_hook(AuditLoggingHook(path=log, key=b"k" * 32))

        def go_on():
            while not stop.is_set():
                registry.get_secret("a")
                counts[0] += 1

        def renamed():
            for piece in pieces:
                until(log.exists)
                log.rename(piece)

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        done = Children(4, lambda _: [registry.get_secret("a") for _ in range(30)]).results(meanwhile=renamed)
        stop.set()
        thread.join()
        registry.get_secret("a")  # so that there is a last piece
    report = verify_audit_log(log, b"k" * 32, earlier=pieces)
    assert (report.ok, report.anchored, report.reason) == (True, True, None)
    assert report.entries == counts[0] + sum(map(len, done)) + 1


def test_each_line_names_the_tenant_of_its_own_read_whatever_task_or_child_makes_it(tmp_path):
    log = tmp_path / "audit.jsonl"
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {"type": "memory"},
                "middleware": [{"type": "tenant"}, {"type": "caching", "ttl_seconds": 0.001}],
            }
        },
    }
    with SecretProviderRegistry(spec) as registry:
        for tenant in TENANTS:
            with TenantContext(tenant):
                registry.set_secrets({f"{tenant}/{number}": tenant for number in range(3)})
        registry.add_hook(AuditLoggingHook(path=log, key=b"k" * 32))
        awaited = AsyncSecretRegistry(registry)

        async def task(seed):
            chance = random.Random(seed)
            for _ in range(8):
                tenant = chance.choice(TENANTS)
                with TenantContext(tenant):
                    if chance.random() < 0.5:
                        assert await awaited.get_secret(f"{tenant}/0") == tenant
                    else:
                        keys = [f"{tenant}/{number}" for number in range(3)]
                        assert set((await awaited.get_secrets(keys)).values()) == {tenant}

        async def tasks(seed):
            await asyncio.gather(*(task(f"{seed} {number}") for number in range(4)))

        thread = threading.Thread(target=lambda: asyncio.run(tasks("thread")), daemon=True)
        thread.start()
        Children(2, lambda number: asyncio.run(tasks(number))).results(
            meanwhile=lambda: asyncio.run(tasks(0))
        )
        thread.join()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) >= 4 * 4 * 8
    assert {line["tenant"] for line in lines} == set(TENANTS)
    assert [line for line in lines if line["key"].partition("/")[0] != line["tenant"]] == []
    assert verify_audit_log(log, b"k" * 32).ok
