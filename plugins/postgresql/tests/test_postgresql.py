"""What only a real PostgreSQL shows: what it stores, tampering, roles, hosts at once, faults."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import psycopg
import pytest
from sampling import crossed
from shared_stores import SharedStoreTests
from strongroom.cli import main
from strongroom.deadlines import Deadline
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy
from strongroom_postgresql import PostgreSQLSecretProvider

KEY = generate_key()
VALUE = "hunter2-correct-horse"
TABLES = ("secret", "version")


def rows(admin, schema):
    return {table: admin.execute(f"SELECT * FROM {schema}.{table}").fetchall() for table in TABLES}


def put_back(admin, schema, table, row):
    marks = ", ".join(["%s"] * len(row))
    keys = {"secret": 1, "version": 2}[table]
    where = " AND ".join(f"{name} = %s" for name in ("name", "number")[:keys])
    admin.execute(f"DELETE FROM {schema}.{table} WHERE {where}", row[:keys])
    admin.execute(f"INSERT INTO {schema}.{table} VALUES ({marks})", row)


# --- what the server sees ---


def test_neither_names_nor_values_reach_the_server(make, admin, schema):
    make().set_secrets({"app/database/password": VALUE, "app/token": VALUE})
    stored = repr(rows(admin, schema)).encode()
    for text in ("app", "database", "password", "token", VALUE):
        assert text.encode() not in stored
        assert text.encode().hex().encode() not in stored


def test_a_notification_tells_neither_name_nor_value(make, admin, schema):
    provider = make()
    provider.set_secret("first", "1")
    admin.execute(f'LISTEN "strongroom_{schema}"')
    provider.set_secret("app/password", VALUE)
    [note] = admin.notifies(timeout=30, stop_after=1)
    assert "password" not in note.payload
    assert VALUE not in note.payload


# --- tampering ---


@pytest.mark.parametrize(("table", "change"), crossed(TABLES, ["set", "delete", "stage", "promote"]))
def test_a_row_that_is_put_back_alone_is_found(make, admin, schema, table, change):
    """By a process that knows nothing of it, whatever the operation was."""
    writer = make()
    writer.set_secret("app/key", "old")
    pending = writer.stage_secret("app/key", "pending") if change == "promote" else ""
    before = rows(admin, schema)
    current = writer.describe_secret("app/key").version
    {
        "set": lambda: writer.set_secret("app/key", "new"),
        "delete": lambda: writer.delete_secret("app/key"),
        "stage": lambda: writer.stage_secret("app/key", "new"),
        "promote": lambda: writer.promote_version("app/key", pending, expected_version=current),
    }[change]()
    after = rows(admin, schema)
    if table == "secret":
        put_back(admin, schema, "secret", before["secret"][0])
    else:
        new = next(row for row in after["version"] if row not in before["version"])
        admin.execute(f"DELETE FROM {schema}.version WHERE name = %s AND number = %s", new[:2])
    with pytest.raises(TamperedError):
        make().get_secret("app/key")
    assert make().verify()


@pytest.mark.parametrize("table", TABLES)
def test_bodies_that_are_swapped_are_found(make, admin, schema, table):
    make().set_secrets({"app/a": "1", "app/b": "2"})
    column = {"secret": "head", "version": "body"}[table]
    (name, one), (other, two) = [(row[0], row[-1]) for row in rows(admin, schema)[table]]
    admin.execute(f"UPDATE {schema}.{table} SET {column} = %s WHERE name = %s", [two, name])
    admin.execute(f"UPDATE {schema}.{table} SET {column} = %s WHERE name = %s", [one, other])
    for key in ("app/a", "app/b"):
        with pytest.raises(TamperedError):
            make().get_secret(key)


def test_a_whole_older_state_is_found_by_who_has_seen_the_newer(make, admin, schema):
    writer = make()
    writer.set_secret("key", "old")
    before = rows(admin, schema)
    writer.set_secret("key", "new")
    admin.execute(f"DELETE FROM {schema}.version")
    admin.execute(f"DELETE FROM {schema}.secret")
    with pytest.raises(TamperedError):
        writer.get_secret("key")
    for table in TABLES:
        for row in before[table]:
            put_back(admin, schema, table, row)
    for call in (writer.get_secret, writer.describe_secret, writer.delete_secret):
        with pytest.raises(TamperedError, match="older state"):
            call("key")
    assert make().get_secret("key") == "old"  # who begins now cannot know


def test_a_store_that_is_gone_is_not_an_empty_one(make, admin, schema):
    provider = make()
    provider.set_secret("key", "1")
    admin.execute(f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(TamperedError, match="gone"):
        provider.get_secret("key")
    with pytest.raises(SecretNotFoundError):
        make().get_secret("key")


# --- keys ---


def test_a_wrong_key_opens_nothing_and_changes_nothing(make, admin, schema):
    make().set_secret("key", "1")
    before = rows(admin, schema)
    wrong = make(encryption_key=generate_key())
    for call in (
        lambda: wrong.get_secret("key"),
        lambda: wrong.set_secret("key", "2"),
        wrong.list_secrets,
    ):
        with pytest.raises(DecryptionError, match="wrong key"):
            call()
    assert rows(admin, schema) == before


def test_a_rekey_writes_no_secret_and_leaves_running_hosts_alone(make, admin, schema):
    running = make()
    running.set_secret("key", "1")
    before = rows(admin, schema)
    new = generate_key()
    make().rekey(new)
    assert rows(admin, schema) == before
    assert running.get_secret("key") == "1"
    assert make(encryption_key=new).get_secret("key") == "1"
    assert make(encryption_key=generate_key(), older_keys=[new]).get_secret("key") == "1"
    with pytest.raises(DecryptionError):
        make().get_secret("key")


def test_a_rekey_replaces_the_key_file_and_keeps_the_old_one(make, tmp_path):
    provider = make(encryption_key=None, key_file=tmp_path / "app.key")
    provider.set_secret("key", "1")
    kept = provider.rekey()
    assert kept is not None
    assert kept.exists()
    assert make(encryption_key=None, key_file=tmp_path / "app.key").get_secret("key") == "1"
    with pytest.raises(DecryptionError):
        make(encryption_key=None, key_file=kept).get_secret("key")


def test_a_rekey_of_all_that_uses_a_key_file_puts_its_stores_under_the_new_key(
    make, url, schema, tmp_path, monkeypatch
):
    """Also where a store is not there yet: the first write makes it, under the key of that time."""
    monkeypatch.chdir(tmp_path)
    pipeline = "provider: {{type: postgresql, url: '{}', schema: {}, key_file: app.key, timeout: 120}}"
    stores = "".join(
        f"  {name}: {{{pipeline.format(url, one)}}}\n"
        for name, one in (("app", schema), ("new", f"{schema}_none"))
    )
    Path("strongroom.yaml").write_text(f"version: 1\npipelines:\n{stores}default: app\n")
    given = {"encryption_key": None, "key_file": tmp_path / "app.key"}
    make(**given).set_secret("key", "1")
    before = Path("app.key").read_bytes()
    assert main(["rekey", "--all"]) == 0
    assert Path("app.key").read_bytes() != before
    assert make(**given).get_secret("key") == "1"
    assert [one.read_bytes() for one in tmp_path.glob("app.key.old-*")] == [before]


def test_a_passphrase_opens_the_store(make):
    make(encryption_key="correct horse battery").set_secret("key", "1")
    assert make(encryption_key="correct horse battery").get_secret("key") == "1"


# --- deleting ---


def test_a_deleted_secret_can_be_recovered_and_destroyed(make, admin, schema):
    provider = make()
    provider.set_secret("key", "1")
    provider.set_secret("key", "2")
    provider.delete_secret("key")
    with pytest.raises(SecretNotFoundError) as caught:
        make().get_secret("key")
    assert caught.value.reason == "deleted"
    assert {one.state for one in provider.list_versions("key")} == {"deleted"}
    provider.recover_secret("key")
    assert make().get_secret("key") == "2"
    provider.delete_secret("key")
    provider.destroy_secret("key")
    with pytest.raises(SecretNotFoundError) as caught:
        make().get_secret("key")
    assert caught.value.reason == "destroyed"
    assert len(rows(admin, schema)["version"]) == 1  # of the operation itself


def test_only_so_many_versions_are_kept(make, admin, schema):
    provider = make(max_versions=3)
    for number in range(6):
        provider.set_secret("key", str(number))
    assert [provider.get_secret_version("key", one.version) for one in provider.list_versions("key")] == [
        "5",
        "4",
        "3",
    ]
    assert len(rows(admin, schema)["version"]) == 3


# --- roles ---


def test_what_roles_may(make, admin, schema, server):
    """The grants of the page."""
    page = (Path(__file__).parents[3] / "docs/how-to/backends/postgresql.md").read_text()
    script = page.partition("```sql\n")[2].partition("```")[0].replace("strongroom", schema)
    script = script.replace(" TO app", f" TO {schema}_app").replace(" TO reader", f" TO {schema}_reader")
    for role in ("app", "reader", "other"):
        admin.execute(f"CREATE ROLE {schema}_{role} LOGIN PASSWORD 'pw-{schema}'")
    admin.execute(script)
    port = server.port

    def as_role(role, **options):
        address = f"postgresql://127.0.0.1:{port}/postgres?sslmode=disable"
        return make(address, username=f"{schema}_{role}", password=f"pw-{schema}", migrate=False, **options)

    try:
        as_role("app").set_secret("key", "1")
        as_role("app").set_secret("key", "2")
        as_role("app").delete_secret("key")
        as_role("app").set_secret("key", "3")
        reader = as_role("reader")
        assert reader.get_secret("key") == "3"
        assert reader.list_secrets() == ["key"]
        with pytest.raises(PermissionDeniedError):
            reader.set_secret("key", "4")
        with pytest.raises(PermissionDeniedError):
            as_role("other").get_secret("key")
        with pytest.raises(AuthenticationError) as caught:
            make(f"postgresql://{schema}_app:wrong-pw@127.0.0.1:{port}/postgres?sslmode=disable").get_secret(
                "key"
            )
        assert "wrong-pw" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        with pytest.raises(ConfigurationError, match="there is no store"):
            as_role("app", schema=f"{schema}_x").set_secret("key", "1")
    finally:
        for role in ("app", "reader", "other"):
            admin.execute(f"DROP OWNED BY {schema}_{role}; DROP ROLE {schema}_{role}")


def test_a_database_that_is_not_there(make, url):
    with pytest.raises(ConfigurationError, match="does not exist"):
        make(url.replace("/postgres?", "/nowhere?")).get_secret("key")


def test_a_port_that_is_not_one():
    with (
        PostgreSQLSecretProvider("postgresql://u:pw@127.0.0.1:x/d", encryption_key=KEY) as provider,
        pytest.raises(ConfigurationError, match="port") as caught,
    ):
        provider.get_secret("key")
    assert caught.value.hint == "mend the URL"


@pytest.mark.parametrize("url", ["mysql://x", "postgres:/x", "", "host=x dbname=y"])
def test_a_url_that_is_not_one_is_refused_before_any_request(url):
    with pytest.raises(ConfigurationError, match="postgresql://"):
        PostgreSQLSecretProvider(url, encryption_key=KEY)


@pytest.mark.parametrize("password", ["12/hunter22", "12@hunter22", "12?hunter22", "12/@hunter22"])
def test_a_password_that_ends_the_address_is_refused_and_not_shown(password):
    """libpq takes the rest of it for a host, a database or an option, which errors name."""
    with pytest.raises(ConfigurationError, match="the password in the url holds") as caught:
        PostgreSQLSecretProvider(f"postgresql://u:{password}@h:1/d?sslmode=require", encryption_key=KEY)
    assert "hunter22" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
    assert "%40" in caught.value.hint


@pytest.mark.parametrize(
    "rest", ["u:12#3@h/d", "u:1%402@h/d", "h/d?user=u@server&options=-c%20a=b@c", "u:p@h1,h2:1/d", "u@h/a@b"]
)
def test_signs_that_end_nothing_may_be_in_a_url(rest):
    with PostgreSQLSecretProvider(f"postgresql://{rest}", encryption_key=KEY) as provider:
        assert "12" not in repr(provider)


def test_a_url_that_libpq_refuses_is_not_repeated():
    with (
        PostgreSQLSecretProvider("postgresql://u:pa%zzword@h/d", encryption_key=KEY) as provider,
        pytest.raises(ConfigurationError) as caught,
    ):
        provider.get_secret("key")
    assert "zzword" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_a_key_is_needed(monkeypatch):
    monkeypatch.delenv("STRONGROOM_ENCRYPTION_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="no key"):
        PostgreSQLSecretProvider("postgresql://h/d")


# --- many hosts ---


class TestManyHosts(SharedStoreTests):
    """What several hosts do with one store."""

    def test_hosts_that_start_at_once_make_one_store(self, make, schema, admin):
        super().test_hosts_that_start_at_once_make_one_store(make)
        assert admin.execute(f"SELECT count(*) FROM {schema}.store").fetchone() == (1,)


def test_the_lock_of_the_dead_ends(make, admin, schema):
    """By the server's clock, which is set back here in place of waiting."""
    one, other = make(), make()
    with one.lock("job", ttl_seconds=60, wait_seconds=0) as first:
        admin.execute(f"UPDATE {schema}.lock SET until = until - interval '61 seconds'")
        with other.lock("job", ttl_seconds=60, wait_seconds=0) as second:
            assert second > first
        # It frees nobody else's as it leaves.
    with other.lock("job", ttl_seconds=60, wait_seconds=0):
        pass


def test_a_lock_whose_answer_was_lost_is_held(make, monkeypatch):
    from strongroom_postgresql.connection import Connection, LostError

    one, other = make(), make()
    with one.lock("job", ttl_seconds=60, wait_seconds=0) as before:
        pass
    run, lost = Connection.run, []

    def losing(self, statement, values, deadline):
        found = run(self, statement, values, deadline)
        if b".lock AS l" in statement.sql and not lost:
            lost.append(found)
            self.close()
            raise LostError("cut")
        return found

    monkeypatch.setattr(Connection, "run", losing)
    with one.lock("job", ttl_seconds=60, wait_seconds=0) as first:
        assert lost
        assert first > before
        with pytest.raises(ConflictError), other.lock("job", ttl_seconds=60, wait_seconds=0):
            pass
    with other.lock("job", ttl_seconds=60, wait_seconds=0) as second:
        assert second > first


# --- round trips ---


def test_each_call_is_one_statement(make, admin, schema, monkeypatch):
    from strongroom_postgresql.connection import Connection

    sent = []
    run = Connection.run

    def counted(self, statement, values, deadline):
        sent.append(statement.name)
        return run(self, statement, values, deadline)

    provider = make()
    keys = {f"app/{number}": "1" for number in range(100)}
    provider.set_secrets(keys)
    provider.get_secrets(keys)
    monkeypatch.setattr(Connection, "run", counted)
    for call in (
        lambda: provider.get_secret("app/1"),
        lambda: provider.set_secret("app/1", "2"),
        lambda: provider.set_secret("app/new", "2"),
        lambda: provider.get_secrets(keys),
        lambda: provider.set_secrets(keys),
        lambda: provider.list_secrets("app/"),
        lambda: provider.describe_secrets(keys),
    ):
        sent.clear()
        call()
        assert len(sent) == 1, sent


def test_a_batch_is_one_round_trip_and_one_transaction(make, admin, schema, url, server):
    """Counted on the way to the server, and by the transaction that the rows name."""
    keys = {f"app/{number}": "1" for number in range(100)}
    with FaultProxy(server.port) as proxy:
        provider = make(_proxied(url, server, proxy))
        provider.set_secrets(keys)
        provider.get_secrets(keys)
        provider.describe_secrets(keys)  # the first time, each prepares its statement
        for call in (
            lambda: provider.get_secrets(keys),
            lambda: provider.set_secrets(dict.fromkeys(keys, "2")),
            lambda: provider.set_secrets({f"new/{key}": "2" for key in keys}),
            lambda: provider.set_secrets(dict.fromkeys(keys, "3")),
            lambda: provider.describe_secrets(keys),
        ):
            before = proxy.round_trips
            call()
            assert proxy.round_trips - before == 1
        written = f"SELECT xmin::text FROM {schema}.secret WHERE name = ANY (%s)"
        store = provider._opened
        names = [store.sealer.name(key).name for key in keys]
        assert len(admin.execute(written, [names]).fetchall()) == 100
        assert len(set(admin.execute(written, [names]).fetchall())) == 1


# --- faults ---


def _proxied(url, server, proxy):
    return url.replace(f":{server.port}/", f":{proxy.port}/")


def test_a_server_that_answers_nothing_is_given_up_in_time(make, url, server):
    with FaultProxy(server.port) as proxy:
        make(_proxied(url, server, proxy)).set_secret("key", "1")
        provider = make(_proxied(url, server, proxy), timeout=0.3)
        proxy.mode = "black_hole"
        lock = provider.lock("job", ttl_seconds=60, wait_seconds=0)
        for call in (
            lambda: provider.get_secret("key"),
            lambda: provider.set_secret("key", "2"),
            lock.__enter__,
        ):
            with pytest.raises(BackendUnavailableError):
                call()
        proxy.mode = "pass"
        for _ in range(100):  # a machine that is busy may take more than 0.3 s for an answer
            with contextlib.suppress(BackendUnavailableError):
                assert provider.get_secret("key") == "1"
                break
        else:
            pytest.fail("it does not heal")


@pytest.mark.parametrize("mode", ["reset", "refuse", "half"])
def test_a_connection_that_is_cut_is_an_outage_and_then_over(make, url, server, mode):
    with FaultProxy(server.port) as proxy:
        provider = make(_proxied(url, server, proxy), timeout=5)
        provider.set_secret("key", "1")
        provider.close()
        proxy.mode = mode
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("key")
        proxy.mode = "pass"
        assert provider.get_secret("key") == "1"


def test_kept_connections_that_the_server_ended_are_replaced_without_an_error(make, admin, schema):
    provider = make()
    provider.set_secret("key", "1")
    for value in ("2", "3"):
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'strongroom' AND query LIKE %s",
            [f"%{schema}.%"],
        )
        provider.set_secret("key", value)
        assert provider.get_secret("key") == value
    assert len(provider.list_versions("key")) == 3


def test_a_write_whose_answer_was_lost_counts_once(make, monkeypatch):
    """It is sent again, and what the server says then shows that it had been made."""
    from strongroom_postgresql.connection import Connection, LostError

    provider = make()
    provider.set_secret("key", "1")
    run = Connection.run
    lost = []

    def losing(self, statement, values, deadline):
        found = run(self, statement, values, deadline)
        if "_update_" in statement.name and not lost:
            lost.append(statement.name)
            self.close()
            raise LostError("cut")
        return found

    monkeypatch.setattr(Connection, "run", losing)
    version = provider.set_secret_if("key", "2", provider.describe_secret("key").version)
    assert lost
    assert provider.describe_secret("key").version == version
    assert len(provider.list_versions("key")) == 2


def test_connections_to_what_was_the_primary_are_given_up(make):
    """As after a failover that leaves the connections open; a new one finds the present primary."""
    from strongroom_postgresql.connection import Statement

    provider = make()
    provider.set_secret("key", "1")
    pool = provider._backend._pool
    for change in (
        lambda: provider.set_secret("key", "2"),
        lambda: provider.set_secrets({"key": "2", "other": "2"}),
        lambda: provider.delete_secret("key"),
    ):
        assert pool._idle
        for connection in pool._idle:
            demote = Statement("", b"SET default_transaction_read_only = on", ())
            connection.run(demote, (), Deadline(600))
        assert provider.get_secret("key")
        change()
    assert provider.list_secrets() == ["other"]


def test_no_server(make):
    with pytest.raises(BackendUnavailableError):
        make("postgresql://127.0.0.1:1/x", timeout=5).get_secret("key")


def test_killed_writers_leave_whole_secrets(make, url, schema, encryption_key):
    """kill -9 in the middle of writes: what was acknowledged is there, and every row fits."""
    program = (
        "import sys; from strongroom_postgresql import PostgreSQLSecretProvider as P\n"
        "url, schema, key = sys.argv[1:]; p = P(url, schema=schema, encryption_key=key); n = 0\n"
        "while True:\n n += 1; p.set_secrets({'a': str(n), 'b': str(n)}); print(n, flush=True)"
    )
    make().set_secrets({"a": "0", "b": "0"})
    process = subprocess.Popen(
        [sys.executable, "-c", program, url, schema, encryption_key], stdout=subprocess.PIPE, text=True
    )
    written = 0
    for _ in range(20):
        written = int(process.stdout.readline())
    process.kill()
    rest, _ = process.communicate()
    written = max([written, *(int(line) for line in rest.split() if line)])
    found = make().get_secrets(["a", "b"])
    assert found["a"] == found["b"]
    assert int(found["a"]) >= written
    assert make().verify(versions=True) == []


# --- changes ---


def test_a_pooler_gives_no_notice(make):
    provider = make(pooler=True)
    provider.set_secret("key", "1")
    assert provider.get_secret("key") == "1"
    with pytest.raises(UnsupportedOperationError, match="pooler"):
        provider.subscribe_changes(lambda _: None)


def test_a_subscription_that_was_cut_off_says_so_and_goes_on(make, admin, schema):
    provider, heard = make(), []
    provider.set_secret("key", "1")
    came = threading.Event()

    def changed(changes):
        heard.append(changes)
        came.set()

    subscription = provider.subscribe_changes(changed)
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = %s",
        [f'LISTEN "strongroom_{schema}"'],
    )
    assert came.wait(300)
    assert heard == [[]]
    came.clear()
    make().set_secret("key", "2")
    assert came.wait(300)
    assert [(one.key, one.kind) for one in heard[-1]] == [("key", "set")]
    subscription.close()


def test_errors_hold_no_value(make, admin, schema):
    provider = make()
    provider.set_secret("key", VALUE)
    admin.execute(f"ALTER TABLE {schema}.version ADD CHECK (length(body) < 10) NOT VALID")
    with pytest.raises(StrongroomError) as caught:
        provider.set_secret("key", VALUE)
    assert VALUE not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_repr_holds_no_password(url):
    provider = PostgreSQLSecretProvider(url, password="other-pw", encryption_key=KEY)
    for text in (repr(provider), str(provider)):
        assert "other-pw" not in text
        assert url.partition("postgres:")[2].partition("@")[0] not in text


def test_the_server_s_own_look(make):
    report = make().diagnose()
    assert report["replica"] == report["pooler"] == "no"
    assert report["role"] == "postgres"


def test_doctor_tells_a_wrong_key_from_no_store_and_reading_from_writing(
    make, url, schema, encryption_key, admin, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    role = f"{schema}_reader"

    def doctor(**options):
        provider = {"type": "postgresql", "url": url, "schema": schema, "encryption_key": encryption_key}
        Path("strongroom.yaml").write_text(
            json.dumps({"version": 1, "pipelines": {"app": {"provider": {**provider, **options}}}})
        )
        return main(["--spec", "strongroom.yaml", "doctor"]), capsys.readouterr().out

    status, said = doctor()
    assert status == 0
    assert "writes allowed, store made by the first write" in said
    assert "verified" not in said
    assert "make it as" in doctor(migrate=False)[1]
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw-{schema}'")
    try:
        as_reader = {"username": role, "password": f"pw-{schema}"}
        assert "this role may not make it" in doctor(**as_reader)[1]
        make().set_secret("key", VALUE)
        status, said = doctor()
        assert status == 0
        assert "integrity verified" in said
        status, said = doctor(encryption_key=generate_key())
        assert status == 7
        assert "wrong key" in said
        admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        status, said = doctor(**as_reader)
        assert status == 0
        assert "writes not allowed, store there" in said
    finally:
        admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_psycopg_is_the_one_that_is_installed():
    assert psycopg.__version__.startswith("3.")


@pytest.mark.parametrize("where", ["password", "url"])
def test_a_changed_password_is_tried_at_once(url, server, where):
    """A refused login is tried again with what its reference brings in by then."""
    stale = url.replace(server.password, "stale-pw")
    now = [stale if where == "url" else "stale-pw"]
    given = ReferencedText(now[0], lambda: now[0])
    options = {"url": given} if where == "url" else {"url": url, "password": given}
    with PostgreSQLSecretProvider(**options, schema=f"t{uuid.uuid4().hex}", encryption_key=KEY) as provider:
        with pytest.raises(AuthenticationError) as caught:
            provider.set_secret("key", VALUE)
        assert "stale-pw" not in f"{caught.value!r}{caught.value.__context__!r}"
        now[0] = url if where == "url" else server.password
        provider.set_secret("key", VALUE)
        assert provider.get_secret("key") == VALUE
