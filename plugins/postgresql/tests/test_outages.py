"""What an outage leaves: connections cut at any byte, sessions that the server ends, a full disk, a failover, a pooler."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from free_ports import free_port
from postgres_server import NOBODY, PostgresServer
from strongroom import SecretProviderRegistry
from strongroom.encryption.keys import generate_key
from strongroom.errors import BackendUnavailableError, ReadOnlyError, TamperedError
from strongroom.testing.faults import FaultProxy
from strongroom_postgresql import PostgreSQLSecretProvider
from strongroom_postgresql.connection import Connection

KEY = generate_key()


# --- sessions that end ---


def test_any_number_of_kept_connections_that_died_is_replaced_without_an_error(make, url, server, admin):
    """More of them than a call tries."""
    with FaultProxy(server.port) as proxy:
        provider = make(url.replace(f":{server.port}/", f":{proxy.port}/"), max_connections=20)
        provider.set_secret("key", "1")
        pool = provider._backend._pool
        kept = [pool._take(provider._deadline())[0] for _ in range(12)]
        for one in kept:
            pool._give_back(one)
        for one in kept:
            admin.execute("SELECT pg_terminate_backend(%s)", [one.opened.pgconn.backend_pid])
        opened = proxy.connections
        assert provider.get_secret("key") == "1"
        assert proxy.connections == opened + 1


def test_a_provider_that_nobody_closes_ends_its_session(url, schema, encryption_key):
    provider = PostgreSQLSecretProvider(url, schema=schema, encryption_key=encryption_key, timeout=120)
    assert provider.list_secrets() == []
    (kept,) = provider._backend._pool._idle
    del provider
    gc.collect()
    assert kept.closed


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system calls it otherwise")
@pytest.mark.parametrize(("option", "idle"), [("", 30), ("&keepalives_idle=77", 77)])
def test_an_idle_connection_is_kept_alive(make, url, option, idle):
    """Else a balancer forgets it within minutes, and the next call waits in vain for an answer."""
    provider = make(url + option)
    assert provider.list_secrets() == []
    (kept,) = provider._backend._pool._idle
    with socket.socket(fileno=os.dup(kept.pg.socket)) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle


def test_after_a_call_that_got_no_answer_the_next_one_connects_again(make, url, server):
    """The others that were kept go to the same host, and each would cost a call its whole time."""
    with FaultProxy(server.port) as proxy:
        provider = make(url.replace(f":{server.port}/", f":{proxy.port}/"))
        provider.set_secret("key", "1")
        pool = provider._backend._pool
        kept = [pool._take(provider._deadline())[0] for _ in range(3)]
        for one in kept:
            pool._give_back(one)
        proxy.mode = "black_hole"
        provider._timeout = 0.2
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("key")
        assert not pool._idle


def test_a_session_that_the_server_ends_while_tables_are_made(make, url, admin, schema, monkeypatch):
    """By idle_in_transaction_session_timeout: nothing is half made, and the next call makes it."""
    run = Connection.run

    def slow(self, statement, values, deadline):
        if statement.sql == b"COMMIT":
            # Of this session alone: on a busy machine any other might not be quick enough either.
            self.opened.pgconn.exec_(b"SET idle_in_transaction_session_timeout = 50")
            pid = self.opened.pgconn.backend_pid
            while admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                pass
        return run(self, statement, values, deadline)

    monkeypatch.setattr(Connection, "run", slow)
    provider = make(url)
    with pytest.raises(BackendUnavailableError):
        provider.set_secret("key", "1")
    monkeypatch.undo()
    assert admin.execute("SELECT to_regnamespace(%s)", [schema]).fetchone() == (None,)
    provider.set_secret("key", "1")
    assert make().get_secret("key") == "1"


def test_no_call_leaves_a_session_in_a_transaction(make, url, admin):
    provider = make(f"{url}&application_name=looked_at")
    told = []

    def state(_=None):
        told.append(
            admin.execute(
                "SELECT DISTINCT state FROM pg_stat_activity WHERE application_name = 'looked_at'"
            ).fetchall()
        )

    provider.set_secret("key", "1")
    state()
    version = provider.stage_secret("key", "2")
    state()
    provider.promote_version("key", version, expected_version=provider.describe_secret("key").version)
    state()
    for _ in provider.list_secrets():
        state()
    with provider.lock("job", ttl_seconds=60, wait_seconds=0):
        state()
    assert told == [[("idle",)]] * len(told)


# --- connections that are cut ---


def cut_at(make, url, server, places, *, fresh):
    """Cut a write at each of so many bytes; what was acknowledged is there, once and whole."""
    direct = make()
    direct.set_secrets({"a": "0", "b": "0"})
    version = direct.describe_secret("a").version
    acknowledged = 0
    with FaultProxy(server.port) as proxy:
        far = make(url.replace(f":{server.port}/", f":{proxy.port}/"))
        far.get_secret("a")
        for number, place in enumerate(places, 1):
            if fresh:
                far.close()
            value = str(number)
            proxy.cut_after = place
            done = False
            with suppress(BackendUnavailableError):
                if number % 2:
                    far.set_secrets({"a": value, "b": value})
                else:
                    far.set_secret_if("a", value, version)
                done = True
            proxy.cut_after = None
            acknowledged += done
            found = direct.get_secrets(["a", "b"])
            if number % 2:
                assert (found["a"] == value) == (found["b"] == value)
            assert found["a"] == value or not done
            if found["a"] != value:
                direct.set_secrets({"a": value, "b": value})
            version = direct.describe_secret("a").version
            assert version.endswith(f"-{number + 1}")  # each write counts once
        assert direct.verify(versions=True) == []
    return acknowledged


def test_a_write_that_is_cut_counts_once(make, url, server):
    """On a kept connection it is sent again, so that nobody notices."""
    places = [0, 1, 5, 40, 300, 600, 700, 720, 800, 900, 1200]
    assert cut_at(make, url, server, places, fresh=False) == len(places)


def test_a_write_that_is_cut_while_it_connects_counts_once_or_not_at_all(make, url, server):
    assert cut_at(make, url, server, range(0, 2400, 300), fresh=True) < 8


@pytest.mark.torture
@pytest.mark.parametrize("fresh", [False, True])
def test_a_write_that_is_cut_at_any_byte(make, url, server, fresh):
    assert cut_at(make, url, server, range(3000 if fresh else 1500), fresh=fresh)


# --- a pooler ---


def test_changes_behind_a_pooler_are_polled_for(schema, url, make, encryption_key):
    make().set_secret("key", "1")
    polled_for({"url": url, "schema": schema, "encryption_key": encryption_key, "pooler": True}, make())


def polled_for(options, other):
    told, came = [], threading.Event()

    def changed(changes):
        told.extend((one.key, one.kind) for one in changes)
        came.set()

    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "postgresql", **options}}}}
    with SecretProviderRegistry(spec) as registry, registry.watch("/", changed, poll_seconds=0.05):
        other.set_secret("key", "2")
        assert came.wait(300)
    assert told == [("key", "set")]


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="there is no pgbouncer")
def test_behind_pgbouncer(schema, server, make, encryption_key):
    """In transaction mode: it is noticed, nothing is prepared, changes are polled for, its restart is no error."""
    folder = server.folder / "pgbouncer"  # which the user who runs both may enter
    folder.mkdir()
    (folder / "users").write_text(f'"postgres" "{server.password}"\n')
    settings = (
        f"[databases]\npostgres = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = PORT\nauth_type = plain\nauth_file = {folder}/users\npool_mode = transaction\n"
        "unix_socket_dir =\nignore_startup_parameters = extra_float_digits\n"
    )
    port = free_port()
    (folder / "ini").write_text(settings.replace("PORT", str(port)))
    as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    def start():
        process = subprocess.Popen(
            ["pgbouncer", str(folder / "ini")],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        )
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(address).close()
                return process
            assert process.poll() is None, "pgbouncer ended"

    address = f"postgresql://postgres:{server.password}@127.0.0.1:{port}/postgres?sslmode=disable"
    process = start()
    try:
        provider = make(address)
        provider.set_secrets({f"app/{number}": "1" for number in range(50)})
        assert provider.diagnose()["pooler"] == "yes"
        assert len(provider.list_secrets("app/")) == 50
        with psycopg.connect(address) as another:  # gets the server's session that we had
            assert another.execute("SHOW enable_seqscan").fetchone() == ("on",)
        make().set_secret("key", "1")
        polled_for({"url": address, "schema": schema, "encryption_key": encryption_key}, make())
        process.terminate()
        process.wait()
        process = start()
        assert provider.get_secret("app/1") == "1"
    finally:
        process.terminate()
        process.wait()


# --- a disk that is full, a server that another one takes over from ---


@pytest.fixture
def small_disk():
    """A file system of 3 MB, which root alone can make."""
    # Not in a folder of pytest's: the user who runs the server may not enter those.
    folder = Path(tempfile.mkdtemp(prefix="strongroom-disk-"))
    made = os.geteuid() == 0 and shutil.which("mount")
    options = f"size=3m,uid={NOBODY},gid={NOBODY},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if not made or subprocess.run(command, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def fill(provider, there):
    """Write until the disk is full, and note in `there` what was acknowledged."""
    for number in range(1000):
        value = f"{number}" + "x" * 50_000
        more = {"a": value, f"c/{number}": value} if number % 2 else {"b": value}
        provider.set_secrets(more)
        there |= more


@pytest.mark.torture
def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk):
    server = PostgresServer()
    there = {"a": "0", "b": "0"}
    try:
        with server.login("postgres", server.password) as admin:
            admin.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        address = f"{server.url()}?sslmode=disable&options=-cdefault_tablespace%3Dsmall"
        with PostgreSQLSecretProvider(address, encryption_key=KEY) as provider:
            provider.set_secrets(there)
            with pytest.raises(BackendUnavailableError, match="No space left") as caught:
                fill(provider, there)
            assert "the write was not made" in caught.value.hint
            assert provider.get_secrets(there) == there
            assert provider.verify(versions=True) == []
            subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
            provider.set_secret("b", "after")
        with PostgreSQLSecretProvider(address, encryption_key=KEY) as other:
            assert other.get_secrets(there) == there | {"b": "after"}
    finally:
        server.stop()


@pytest.fixture
def pair():
    """A primary, and a replica that has each acknowledged write, as synchronous_standby_names says."""
    primary = PostgresServer("max_wal_senders=4")
    replica = None
    try:
        replica = primary.replica("hot_standby=on")
        with primary.login("postgres", primary.password) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'replica'")
            admin.execute("SELECT pg_reload_conf()")
            while admin.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != ("sync",):
                pass
        yield primary, replica
    finally:
        if replica:
            replica.stop()
        primary.stop()


def both(primary, replica):
    return (
        f"postgresql://postgres:{primary.password}@127.0.0.1:{primary.port},127.0.0.1:{replica.port}/postgres"
        "?sslmode=disable&target_session_attrs=read-write"
    )


class Writer:
    """Counts in a secret on a thread, until it is stopped; `count` is what was acknowledged last."""

    def __init__(self, address, key):
        self.count, self.key = 0, key
        self._changed = threading.Condition()
        self._ended = False
        self._provider = PostgreSQLSecretProvider(address, encryption_key=KEY, timeout=5)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ended:
            try:
                self._provider.set_secret(self.key, str(self.count + 1))
                count = self.count + 1
            except BackendUnavailableError:  # it may have been made: a look decides
                try:
                    count = int(self._provider.get_secret(self.key))
                except BackendUnavailableError:
                    continue
                assert count in {self.count, self.count + 1}
            with self._changed:
                self.count = count
                self._changed.notify_all()

    def reaches(self, more):
        """Wait until so many more were acknowledged."""
        goal = self.count + more
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= goal, 120)

    def stop(self):
        self._ended = True
        self._thread.join()
        self._provider.close()


@pytest.mark.torture
def test_a_failover_to_a_replica_loses_nothing_that_was_acknowledged(pair):
    """By the URL with both hosts: writers, a rotation in flight and a watch go on with the replica."""
    primary, replica = pair
    address = both(primary, replica)
    heard = threading.Event()

    def changed(changes):
        if not changes or "key" in [one.key for one in changes]:
            heard.set()

    with (
        PostgreSQLSecretProvider(address, encryption_key=KEY) as watching,
        PostgreSQLSecretProvider(address, encryption_key=KEY) as rotating,
    ):
        rotating.set_secrets({"key": "current", "w0": "0", "w1": "0"})
        staged = rotating.stage_secret("key", "next")
        watching.subscribe_changes(changed)
        writers = [Writer(address, "w0"), Writer(address, "w1")]
        try:
            assert all(one.reaches(30) for one in writers)
            with PostgreSQLSecretProvider(f"{replica.url()}?sslmode=disable", encryption_key=KEY) as reader:
                assert reader.diagnose()["replica"] == "yes"
                assert int(reader.get_secret("w0")) > 0
                with pytest.raises(ReadOnlyError):
                    reader.set_secret("w0", "never")
            primary.crash()
            replica.promote()
            assert all(one.reaches(30) for one in writers)
            assert heard.wait(300)  # that changes may have been missed
            heard.clear()
            before = rotating.describe_secret("key").version
            rotating.promote_version("key", staged, expected_version=before)
            assert heard.wait(300)
        finally:
            for one in writers:
                one.stop()
        wanted = {"key": "next", **{one.key: str(one.count) for one in writers}}
        assert watching.get_secrets(wanted) == wanted
        assert watching.verify(versions=True) == []


@pytest.mark.torture
def test_a_replica_that_lacks_the_last_writes_is_found_by_who_saw_them(pair):
    """Replication that lags: a process that has seen the newer state says so, one that starts takes what is there."""
    primary, replica = pair
    with PostgreSQLSecretProvider(both(primary, replica), encryption_key=KEY) as provider:
        provider.set_secret("key", "1")
        with primary.login("postgres", primary.password) as admin:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
        with replica.login("postgres", replica.password) as admin:
            admin.execute("ALTER SYSTEM SET primary_conninfo = ''")
            admin.execute("SELECT pg_reload_conf()")
            while admin.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone():
                pass
        provider.set_secret("key", "2")
        primary.crash()
        replica.promote()
        with pytest.raises(TamperedError, match="older state"):
            provider.get_secret("key")
    with PostgreSQLSecretProvider(both(primary, replica), encryption_key=KEY) as after:
        assert after.get_secret("key") == "1"
        after.set_secret("key", "3")
        assert after.get_secret("key") == "3"
