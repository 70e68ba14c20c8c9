"""The rotator `postgresql` on a real server, and behind a real pgbouncer where there is one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import socket
import time

import psycopg
import pytest
from pgbouncer import PROGRAM, PgBouncer
from postgres_server import PostgresServer
from psycopg import sql
from strongroom import SecretProviderRegistry, SecretRotation, generate_password
from strongroom.errors import ConfigurationError, RotationError, SpecError, ValidationError
from strongroom.providers.files import folder_locked, replace_file
from strongroom.testing import RotatorConformance
from strongroom.testing.faults import FaultProxy
from strongroom_memory import MemorySecretProvider
from strongroom_postgresql.rotator import PostgreSQLRotator
from strongroom_postgresql.userlist import remove_user, write_user

KEY = "database/login"
ROLES = ("app", "app_b")
LOGGING = (
    "logging_collector=on",
    "log_directory=log",
    "log_filename=all.log",
    "log_statement=all",
    "log_connections=on",
)


@pytest.fixture(scope="module")
def postgres():
    running = PostgresServer(*LOGGING)
    yield running
    running.stop()


class Roles:
    """The roles of an application, `app` and `app_b`, and an administrator who is no superuser, `keeper`."""

    def __init__(self, server, connection):
        self.server, self.connection = server, connection
        self.first = generate_password()
        self.pair = json.dumps({"username": "app", "password": self.first, "host": "db"})

    def run(self, statement, *names):
        return self.connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def logs_in(self, value, user="app"):
        login = json.loads(value) if value.startswith("{") else {"username": user, "password": value}
        try:
            self.server.login(login["username"], login["password"]).close()
        except psycopg.OperationalError:
            return False
        return True

    def names(self):
        found = self.run("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
        return [one for (one,) in found]


@pytest.fixture
def roles(postgres):
    with postgres.login("postgres", postgres.password) as connection:
        made = Roles(postgres, connection)
        for name in ROLES:
            made.run(f"CREATE ROLE {{}} LOGIN PASSWORD '{made.first}'", name)
        made.run("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'keeper-of-the-roles'")
        yield made
        for name in (*ROLES, "keeper"):
            made.run("DROP ROLE IF EXISTS {}", name)


@pytest.fixture
def one(postgres, roles):
    return PostgreSQLRotator(postgres.url(), "app")


@pytest.fixture
def two(postgres, roles):
    return PostgreSQLRotator(postgres.url(), "app", role_b="app_b", strategy="alternating")


def rotated(value, rotator, **options):
    memory = MemorySecretProvider(secrets={KEY: value})
    return memory, SecretRotation(memory, rotator=rotator, **options)


class Kit(RotatorConformance):
    @pytest.fixture
    def logs_in(self, roles):
        return roles.logs_in

    @pytest.fixture
    def users(self, roles):
        return roles.names


class TestSingle(Kit):
    @pytest.fixture
    def rotator(self, one):
        return one

    @pytest.fixture
    def secret(self, roles):
        return roles.first


class TestAlternating(Kit):
    keeps_old = True

    @pytest.fixture
    def rotator(self, two):
        return two

    @pytest.fixture
    def secret(self, roles):
        return roles.pair


@pytest.mark.torture
class TestSingleAtEachStep(TestSingle):
    deaths_every = 1
    deaths_times = 25


@pytest.mark.torture
class TestAlternatingAtEachStep(TestAlternating):
    deaths_every = 1
    deaths_times = 25


def test_what_stands_beside_the_password_stays(roles, one):
    memory, rotation = rotated(roles.pair, one)
    rotation.rotate(KEY)
    new = memory.get_secret(KEY)
    assert roles.logs_in(new)
    assert not roles.logs_in(roles.pair)
    assert {**json.loads(new), "password": ""} == {**json.loads(roles.pair), "password": ""}


def test_two_roles_take_turns(roles, two):
    memory, rotation = rotated(roles.pair, two)
    seen = [roles.pair]
    for _ in range(3):
        rotation.rotate(KEY)
        seen.append(memory.get_secret(KEY))
        assert roles.logs_in(seen[-1])
        assert roles.logs_in(seen[-2])
    assert [json.loads(value)["username"] for value in seen] == ["app", "app_b", "app", "app_b"]


def test_no_password_is_in_the_servers_log(postgres, roles, one):
    _, rotation = rotated(roles.first, one)
    rotation.rotate(KEY, "a-password-that-nobody-else-has")
    rotation.rehearse(KEY)
    log = (postgres.folder / "data" / "log" / "all.log").read_text()
    assert 'ALTER ROLE "app" PASSWORD \'SCRAM-SHA-256$1:' in log  # as the server has it set
    assert "a-password-that-nobody-else-has" not in log
    assert postgres.password not in log


def test_a_rotation_asks_the_server_for_no_more_than_it_needs(postgres, roles, one):
    """Two log-ins: the administrator's, who looks and alters, and the one that tries the new password."""
    log = postgres.folder / "data" / "log" / "all.log"
    _, rotation = rotated(roles.first, one)
    roles.run("SELECT 'here it begins'")
    rotation.rotate(KEY)
    roles.run("SELECT 'here it ends'")
    until = time.monotonic() + 60
    while "here it ends" not in (text := log.read_text()) and time.monotonic() < until:
        time.sleep(0.01)  # the server writes it by a process of its own
    text = text.partition("here it begins")[2].partition("here it ends")[0]
    assert re.findall(r"(?:authorized: user=|statement: +|execute \S+: +)\s*(\w+)", text) == [
        "postgres",
        "SELECT",  # what is known of the role
        "BEGIN",  # and the change, in one round trip
        "app",
        "SELECT",
        "SELECT",  # of this test
    ]


def test_a_repeated_step_leaves_the_servers_verifier_as_it_is(roles, one):
    """A new salt would end the log-ins of a pooler that has the verifier."""

    def verifier():
        return roles.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()[0]

    one.apply(KEY, roles.first, "the new password")
    before = verifier()
    one.apply(KEY, roles.first, "the new password")
    assert verifier() == before
    one.apply(KEY, roles.first, "pässwörd")
    assert roles.logs_in("pässwörd")


def test_an_administrator_who_is_no_superuser_is_enough(postgres, roles):
    url = f"postgresql://nobody:else@127.0.0.1:{postgres.port}/postgres"
    rotator = PostgreSQLRotator(url, "app", username="keeper", password="keeper-of-the-roles")
    memory, rotation = rotated(roles.first, rotator)
    roles.run("GRANT app TO keeper WITH ADMIN OPTION")  # needed from PostgreSQL 16 on
    rotation.rehearse(KEY)
    rotation.rotate(KEY)
    assert roles.logs_in(memory.get_secret(KEY))
    roles.run("ALTER ROLE keeper NOCREATEROLE")
    with pytest.raises(RotationError, match=r"changing the password of 'app' was refused: .*42501"):
        rotation.rehearse(KEY)
    with pytest.raises(RotationError, match=r"changing the password of 'app' was refused: .*42501"):
        rotation.rotate(KEY)
    roles.run("ALTER ROLE keeper CREATEROLE")
    assert rotation.rollback(KEY).state == "rolled_back"
    assert roles.logs_in(memory.get_secret(KEY))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER ROLE app VALID UNTIL '2020-01-01'", "was valid only until 2020-01-01 00:00:00"),
        ("ALTER ROLE app NOLOGIN", "the role 'app' may not log in"),
        ("DROP ROLE app", "there is no role 'app'"),
    ],
)
def test_a_role_whose_new_password_could_not_work_is_left_alone(roles, one, change, expected):
    roles.run(change)
    memory, rotation = rotated(roles.first, one)
    for step in (rotation.rehearse, rotation.rotate):
        with pytest.raises(RotationError, match=expected) as caught:
            step(KEY)
        assert roles.first not in str(caught.value)
    assert memory.get_secret(KEY) == roles.first


def test_an_administrator_who_cannot_log_in_is_told_without_the_password(postgres, roles):
    rotator = PostgreSQLRotator(postgres.url(password="hunter22-not-it"), "app")
    _, rotation = rotated(roles.first, rotator)
    with pytest.raises(RotationError, match="the administrator cannot log in at 127") as caught:
        rotation.rotate(KEY)
    assert "password authentication failed" in str(caught.value)
    assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"


@pytest.fixture
def own(postgres, roles):
    """A registry whose spec lets the administrator's password be rotated by that administrator."""
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {
                    "type": "memory",
                    "secrets": {
                        "admin": json.dumps({"username": "keeper", "password": "keeper-of-the-roles"})
                    },
                },
                "middleware": [{"type": "caching"}],
            }
        },
        "secrets": {
            "ADMIN": {
                "key": "admin",
                "field": "password",
                "rotate": {
                    "rotator": {
                        "type": "postgresql",
                        "url": f"postgresql://127.0.0.1:{postgres.port}/postgres",
                        "username": "${secret:app:admin#username}",
                        "password": "${secret:app:admin#password}",
                        "role": "keeper",
                    }
                },
            }
        },
    }
    with SecretProviderRegistry(spec) as registry:
        yield registry


def test_the_administrators_own_password_is_rotated_by_itself(roles, own):
    seen = {own.get_secret("admin")}
    for _ in range(2):
        SecretRotation(own, rotator=own.rotator("ADMIN")).rotate("admin")
        seen.add(own.get_secret("admin"))
        assert roles.logs_in(own.get_secret("admin"))
    assert len(seen) == 3


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_it_goes_on_where_the_server_has_the_new_one_and_the_reference_leads_to_the_old(roles, own, way):
    rotator = own.rotator("ADMIN")

    def dies(*_):
        raise KeyboardInterrupt

    rotator.verify = dies
    with pytest.raises(KeyboardInterrupt):
        SecretRotation(own, rotator=rotator).rotate("admin")
    assert not roles.logs_in(own.get_secret("admin"))
    getattr(SecretRotation(own, rotator=own.rotator("ADMIN")), way)("admin")
    assert roles.logs_in(own.get_secret("admin"))
    SecretRotation(own, rotator=own.rotator("ADMIN")).rehearse("admin")


def test_a_secret_that_is_not_of_these_roles_is_refused_before_anything_happens(roles, one, two):
    eve = json.dumps({"username": "eve", "password": "p"})
    for value, rotator, expected in (
        ("plain", two, "does not name the user in use"),
        (eve, two, "does not name the user in use"),
        (eve, one, "is of 'eve', and its rotator changes app"),
        (json.dumps({"user": "app", "pass": "p"}), one, "without the text `password`"),
    ):
        _, rotation = rotated(value, rotator)
        with pytest.raises(ValidationError, match=expected):
            rotation.rotate(KEY)
        assert rotation.status_of(KEY).state == "current"
    memory, rotation = rotated(roles.pair, two)
    with pytest.raises(ValidationError, match="not for the user whose turn it is: 'app_b'"):
        rotation.rotate(KEY, roles.pair)
    rotation.rotate(KEY, json.dumps({"username": "app_b", "password": "given by hand"}))
    assert roles.logs_in(memory.get_secret(KEY))


def test_a_server_that_asks_for_no_password_is_compared_with(postgres, roles, one, caplog):
    hba = postgres.folder / "data" / "pg_hba.conf"
    before = hba.read_text()

    def reload(text, *, until):
        hba.write_text(text)
        roles.run("SELECT pg_reload_conf()")
        for _ in range(1000):
            if roles.logs_in("wrong") == until:
                return
            time.sleep(0.01)  # the server reads the file when it comes to it, and tells nobody
        raise AssertionError(hba)

    reload("host all app 127.0.0.1/32 trust\n" + before, until=True)
    try:
        one.verify(KEY, roles.first)
        with pytest.raises(RotationError, match="is not the new one"):
            one.verify(KEY, "some other password")
        blind = PostgreSQLRotator(postgres.url(), "app", username="keeper", password="keeper-of-the-roles")
        blind.verify(KEY, "some other password")
        assert "lets app in without its password" in caplog.text
        caplog.clear()
        one.apply(KEY, roles.first, "gr\u00f6\u00dfer")  # a password that this side cannot compare
        one.verify(KEY, "gr\u00f6\u00dfer")
        assert "lets app in without its password" in caplog.text
    finally:
        reload(before, until=False)


def test_a_rehearsal_drops_what_a_killed_one_left(roles, one, two):
    roles.run("CREATE ROLE strongroom_rehearsal_1577836800_0 LOGIN VALID UNTIL '2020-01-01'")
    for value, rotator in ((roles.first, one), (roles.pair, two)):
        rotated(value, rotator)[1].rehearse(KEY)
        assert roles.names() == ["app", "app_b", "keeper", "postgres"]


def test_one_that_fails_leaves_nothing_either(postgres, roles):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        rotator = PostgreSQLRotator(postgres.url(), "app", login=[f"postgresql://127.0.0.1:{port}/"])
        with pytest.raises(RotationError, match=rf"cannot log in at 127\.0\.0\.1:{port}: .*refused"):
            rotated(roles.first, rotator)[1].rehearse(KEY)
    assert roles.names() == ["app", "app_b", "keeper", "postgres"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_password_of_any_characters_works_whatever_the_encoding_of_the_database(postgres, roles, encoding):
    """Who logs in sends it in UTF-8; a session's encoding decides about statements alone."""
    roles.run(f"CREATE DATABASE old ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        rotator = PostgreSQLRotator(postgres.url(database="old"), "app")
        memory, rotation = rotated(roles.first, rotator)
        assert rotation.rotate(KEY, "größer-als-zehn").state == "current"
        assert roles.logs_in(memory.get_secret(KEY))
    finally:
        roles.run("DROP DATABASE old WITH (FORCE)")


def test_an_address_that_does_not_answer_ends_at_the_time_out(postgres, roles):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        login = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/"
        rotator = PostgreSQLRotator(postgres.url(), "app", login=[login], timeout_seconds=1)
        with pytest.raises(RotationError, match="timeout"):
            rotator.verify(KEY, roles.first)


def test_a_process_with_many_open_files_rotates_too(roles, one):
    """As a server with more than a thousand connections, which rotates a secret of its own."""
    wanted, (soft, hard) = 1500, resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this user may not open so many files")
    opened = []
    try:
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        while not opened or opened[-1] < 1100:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        one.verify(KEY, roles.first)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("step", ["apply", "verify", "prepare_rehearsal"])
def test_a_server_that_falls_silent_after_the_log_in_ends_at_the_time_out(postgres, roles, step):
    """As one whose host is gone, or behind a firewall that drops: libpq would wait for ever."""
    with FaultProxy(postgres.port) as proxy:
        url = postgres.url().replace(f":{postgres.port}/", f":{proxy.port}/")
        rotator = PostgreSQLRotator(url, "app")
        connected, logs_in = rotator._connected, rotator._logs_in

        def and_then_silent(password):
            connection = connected(password)
            proxy.mode = "black_hole"
            rotator._timeout = 0.2
            return connection

        rotator._connected = and_then_silent
        rotator._logs_in = lambda *given: logs_in(*given) and False  # so that it looks at the verifier
        more = {
            "apply": (roles.first, "another"),
            "verify": (roles.first,),
            "prepare_rehearsal": (roles.first,),
        }
        with pytest.raises(RotationError, match=r"no answer within 0\.2 s"):
            getattr(rotator, step)(KEY, *more[step])


@pytest.mark.parametrize(
    "options",
    [
        {"url": "postgresql://u:hunter22@[::1/"},
        {"url": "postgresql://h/?no_such_option=hunter22"},
        {"url": "postgresql://u:12/hunter22@h:1/d"},
        {"url": "postgresql://u:12@hunter22@h:1/d"},
        {"url": "postgresql://h/", "login": ["postgresql://u:12@hunter22@h/d"]},
        {"url": "postgresql://h/", "userlist": "u", "pgbouncer": "postgresql://u:12/hunter22@h/d"},
        {"url": "postgresql://h/", "role_b": "other"},
        {"url": "postgresql://h/", "strategy": "alternating"},
        {"url": "postgresql://h/", "strategy": "alternating", "role_b": "app"},
        {"url": "postgresql://h/", "login": ["postgresql://u:hunter22@[::1/?x"]},
    ],
)
def test_bad_options_are_told_without_a_password(options):
    with pytest.raises(ConfigurationError) as caught:
        PostgreSQLRotator(**options, role="app")
    assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"role": "app", "url": "mysql://h"}, r"rotator\.url"),
        ({"url": "postgresql://h", "rolle": "app"}, "unknown key; did you mean 'role'"),
        ({"role": "app", "url": "postgresql://h", "strategy": "altenating"}, "did you mean 'alternating'"),
        ({"role": "app", "url": "postgresql://h", "role_b": "b"}, "take turns need `role_b`"),
        ({"role": "app", "url": "postgresql://h", "pgbouncer": "postgresql://p"}, "is for `userlist`"),
    ],
)
def test_a_spec_is_checked_before_anything_is_asked(options, expected):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}}},
        "secrets": {"A": {"rotate": {"rotator": {"type": "postgresql", **options}}}},
    }
    with pytest.raises(SpecError, match=expected):
        SecretProviderRegistry(spec)


# --- pgbouncer ---


def test_a_password_in_a_userlist_may_hold_any_character_of_a_line(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text('"app" "old\u2028\x0bone"\n"eve" "e"', encoding="utf-8")
    write_user(path, "app", password="new\u2028one", verifier="SCRAM-1")
    assert path.read_text(encoding="utf-8") == '"app" "new\u2028one"\n"eve" "e"\n'
    before = path.read_bytes()
    for bad in ('p"\n"root" "q', "p\rq", "p\0q"):
        with pytest.raises(RotationError, match="cannot hold a password with a line end") as caught:
            write_user(path, "app", password=bad, verifier="SCRAM-2")
        assert bad not in str(caught.value)
        rotator = PostgreSQLRotator("postgresql://127.0.0.1:1/d", "app", userlist=path)
        with pytest.raises(RotationError, match="cannot hold"):  # before anybody is asked
            rotator.apply("key", "old", bad)
    assert path.read_bytes() == before


def test_a_userlist_is_changed_in_the_way_that_it_has(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text('; a remark\n"eve" "clear"\n"app" "SCRAM-SHA-256$1:a$b:c"\n"a""b" "md5abc"')
    path.chmod(0o640)
    write_user(path, "eve", password='new "word"', verifier="SCRAM-1")
    write_user(path, "app", password="p", verifier="SCRAM-2")
    write_user(path, 'a"b', password="p", verifier="SCRAM-3")
    write_user(path, "more", password="p", verifier="SCRAM-4")
    lines = ["; a remark", '"eve" "new ""word"""', '"app" "SCRAM-2"', '"a""b" "SCRAM-3"', '"more" "SCRAM-4"']
    assert path.read_text().splitlines() == lines
    assert path.stat().st_mode & 0o777 == 0o640
    remove_user(path, "more")
    assert path.read_text().splitlines() == lines[:-1]
    assert list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    remove_user(link, "app")
    assert link.is_symlink()
    assert path.read_text().splitlines() == [*lines[:2], lines[3]]
    with pytest.raises(RotationError, match="cannot be changed: No such file"):
        write_user(tmp_path / "none.txt", "a", password="p", verifier="v")


def test_a_userlist_that_another_process_changes_is_waited_for_within_the_time_out(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text('"app" "old"\n')
    with (
        folder_locked(tmp_path, seconds=60, provider="test"),
        pytest.raises(RotationError, match=r"another process .* for 0\.05 s"),
    ):
        write_user(path, "app", password="new", verifier="v", seconds=0.05)
    assert path.read_text() == '"app" "old"\n'
    write_user(path, "app", password="new", verifier="v", seconds=0.05)
    assert path.read_text() == '"app" "new"\n'


def test_a_process_that_is_forked_while_a_userlist_is_written_keeps_nothing_locked(tmp_path, monkeypatch):
    path = tmp_path / "users.txt"
    path.write_text('"app" "old"\n')
    ends, end = os.pipe()
    children = []

    def forking(*given):
        if not children:
            children.append(os.fork())
            if not children[0]:
                os.close(end)
                os.read(ends, 1)
                os._exit(0)
        return replace_file(*given)

    monkeypatch.setattr("strongroom_postgresql.userlist.replace_file", forking)
    try:
        for password in ("new", "newer"):
            write_user(path, "app", password=password, verifier="v", seconds=0.05)
    finally:
        os.close(end)
        os.waitpid(children[0], 0)
        os.close(ends)
    assert path.read_text() == '"app" "newer"\n'


@pytest.fixture
def bouncer(postgres, roles):
    """A function that starts a pgbouncer in front of the server."""
    if PROGRAM is None:
        pytest.skip("there is no pgbouncer here")
    running = []

    def start(users, **options):
        running.append(PgBouncer(postgres, users, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def logs_in(pooler, value):
    login = json.loads(value) if value.startswith("{") else {"username": "app", "password": value}
    return pooler.logs_in(login["username"], login["password"])


def behind(pooler, *, changed=False):
    found = {"login": [pooler.url("x", "y")], "timeout_seconds": 8}
    if changed:
        found |= {
            "userlist": pooler.userlist,
            "pgbouncer": pooler.console,
        }
    return found


@pytest.mark.torture
def test_a_pooler_with_auth_query_learns_at_once(postgres, roles, bouncer):
    pooler = bouncer({"postgres": postgres.password}, auth_query=True)
    memory, rotation = rotated(roles.first, PostgreSQLRotator(postgres.url(), "app", **behind(pooler)))
    assert logs_in(pooler, roles.first)
    rotation.rehearse(KEY)
    for _ in range(3):
        rotation.rotate(KEY)
        assert logs_in(pooler, memory.get_secret(KEY))


@pytest.mark.torture
def test_a_pooler_with_a_file_that_nobody_changes_is_not_a_success(postgres, roles, bouncer):
    pooler = bouncer({"app": roles.first})
    assert logs_in(pooler, roles.first)
    memory, rotation = rotated(roles.first, PostgreSQLRotator(postgres.url(), "app", **behind(pooler)))
    with pytest.raises(RotationError, match=r"the rehearsal .*cannot log in at 127"):
        rotation.rehearse(KEY)
    with pytest.raises(RotationError, match="verify failed: postgresql: 'app' cannot log in at 127"):
        rotation.rotate(KEY)
    assert memory.get_secret(KEY) == roles.first
    assert rotation.status_of(KEY).state == "applied"
    rotation.rollback(KEY)
    assert logs_in(pooler, roles.first)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["clear", "verifier"])
def test_a_pooler_whose_file_is_changed_too_lets_the_new_password_in(postgres, roles, bouncer, kind):
    verifier = roles.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()[0]
    pooler = bouncer({"app": roles.first if kind == "clear" else verifier})
    assert logs_in(pooler, roles.first)
    rotator = PostgreSQLRotator(postgres.url(), "app", **behind(pooler, changed=True))
    memory, rotation = rotated(roles.first, rotator)
    rotation.rehearse(KEY)
    assert "rehearsal" not in pooler.userlist.read_text()
    for _ in range(3):
        old = memory.get_secret(KEY)
        rotation.rotate(KEY)
        assert logs_in(pooler, memory.get_secret(KEY))
        assert not logs_in(pooler, old)
    assert (memory.get_secret(KEY) in pooler.userlist.read_text()) == (kind == "clear")


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["clear", "verifier", "auth_query", "two roles", "login"])
def test_a_client_that_logged_in_by_the_old_password_gets_a_new_connection(postgres, roles, bouncer, kind):
    """A verifier lets nobody in: pgbouncer goes on with what it learnt as the last client logged in."""
    verifier = roles.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()[0]
    if kind == "auth_query":
        pooler, options = bouncer({"postgres": postgres.password}, auth_query=True, query_wait_timeout=5), {}
    else:
        users = dict.fromkeys(ROLES, roles.first if kind == "clear" else verifier)
        pooler = bouncer(users, query_wait_timeout=5)
        options = {"userlist": pooler.userlist, "pgbouncer": pooler.console}
    if kind == "two roles":
        options |= {"role_b": "app_b", "strategy": "alternating"}
    if kind == "login":
        # Without it `verify` is at the server; one at the pooler is the log-in that the open clients wait for.
        options["login"] = [pooler.url("x", "y")]
    rotator = PostgreSQLRotator(postgres.url(), "app", timeout_seconds=8, **options)
    first = roles.pair if kind == "two roles" else roles.first
    with contextlib.ExitStack() as stack:
        before, after = (
            stack.enter_context(psycopg.connect(pooler.url("app", roles.first), autocommit=True))
            for _ in range(2)
        )
        memory, rotation = rotated(first, rotator)
        rotation.rotate(KEY)
        pooler.reconnect()
        if kind in {"verifier", "auth_query"}:
            with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
                before.execute("SELECT 1", prepare=False)
        else:
            before.execute("SELECT 1", prepare=False)
        assert logs_in(pooler, memory.get_secret(KEY))
        after.execute("SELECT 1", prepare=False)


@pytest.mark.torture
def test_two_roles_behind_a_pooler_with_a_file(postgres, roles, bouncer):
    pooler = bouncer({"app": roles.first, "app_b": roles.first})
    rotator = PostgreSQLRotator(
        postgres.url(), "app", role_b="app_b", strategy="alternating", **behind(pooler, changed=True)
    )
    memory, rotation = rotated(roles.pair, rotator)
    for _ in range(4):
        old = memory.get_secret(KEY)
        rotation.rotate(KEY)
        assert logs_in(pooler, memory.get_secret(KEY))
        assert logs_in(pooler, old)


# --- what the page says of the server ---


def test_open_sessions_outlive_password_expiry_and_role(postgres, roles):
    """Only log-ins are refused; of a role that owns nothing and is dropped the session has a name no more."""
    with psycopg.connect(postgres.url("app", roles.first), autocommit=True) as session:
        for change in (
            "ALTER ROLE app PASSWORD 'another'",
            f"ALTER ROLE app PASSWORD '{roles.first}' VALID UNTIL '2020-01-01'",
            "ALTER ROLE app NOLOGIN",
            "DROP ROLE app",
        ):
            roles.run(change)
            assert not roles.logs_in(roles.first)
            assert session.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.Error, match="invalid role OID"):
            session.execute("SELECT current_user")


def test_a_validity_that_has_passed_outlives_a_change_of_the_password(roles):
    roles.run("ALTER ROLE app VALID UNTIL '2020-01-01'")
    roles.run("ALTER ROLE app PASSWORD 'another'")
    assert not roles.logs_in("another")
    roles.run("ALTER ROLE app VALID UNTIL 'infinity'")
    assert roles.logs_in("another")
