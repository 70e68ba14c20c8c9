"""The rotator `mariadb` on a real server, where there is one; and what needs none."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import weakref
from pathlib import Path

import pymysql
import pytest
from strongroom import SecretProviderRegistry, SecretRotation, generate_password
from strongroom.errors import ConfigurationError, RotationError, SpecError, ValidationError
from strongroom.testing import RotatorConformance
from strongroom_mariadb.hashes import hashed
from strongroom_mariadb.rotator import MariaDBRotator
from strongroom_memory import MemorySecretProvider

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from mariadb_server import MariaDBServer, is_here  # as above

KEY = "database/login"


def rotated(value, rotator, **options):
    memory = MemorySecretProvider(secrets={KEY: value})
    return memory, SecretRotation(memory, rotator=rotator, **options)


# --- without a server ---


def test_what_the_server_keeps_of_a_password_is_made_here():
    """Both are what MariaDB 10.11 itself has made of these passwords."""
    assert hashed("one", "mysql_native_password") == "*74445CD742AF268FD22866DA0D12758951D638F7"
    assert hashed("x", "ed25519") == "Gv2JI8Env2fd5YGonZ082tX3UAW+yJYldOlj4R1bfK4"
    with pytest.raises(RotationError, match="of the plugin 'pam' cannot be set"):
        hashed("x", "pam")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "mariadb://u:hunter22@h:port/"},
        {"url": "postgresql://u:hunter22@h/"},
        {"url": "mariadb://u:hunter22@h/?no_such=option"},
        {"url": "mariadb://u:12/hunter22@h:1/"},
        {"url": "mariadb://u:12?hunter22@h:1/"},
        {"url": "mariadb://u:12#hunter22@h:1/"},
        {"url": "mariadb://h/", "login": ["mariadb://u:12/hunter22@h/"]},
        {"url": "mariadb://h/", "role_b": "other"},
        {"url": "mariadb://h/", "strategy": "alternating"},
        {"url": "mariadb://h/", "strategy": "alternating", "role_b": "app@localhost"},
        {"url": "mariadb://h/", "login": ["mariadb://u:hunter22@h:port/"]},
    ],
)
def test_bad_options_are_told_without_a_password(options):
    with pytest.raises(ConfigurationError) as caught:
        MariaDBRotator(**options, role="app")
    assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"role": "app", "url": "postgresql://h"}, r"rotator\.url"),
        ({"url": "mariadb://h", "rol": "app"}, "unknown key; did you mean 'role'"),
        ({"role": "app", "url": "mariadb://h", "strategy": "altenating"}, "did you mean 'alternating'"),
        ({"role": "app", "url": "mariadb://h", "role_b": "b"}, "take turns need `role_b`"),
        (
            {"role": "app", "role_b": "app@h", "strategy": "alternating", "url": "mariadb://h"},
            "the same user",
        ),
    ],
)
def test_a_spec_is_checked_before_anything_is_asked(options, expected):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}}},
        "secrets": {"A": {"rotate": {"rotator": {"type": "mariadb", **options}}}},
    }
    with pytest.raises(SpecError, match=expected):
        SecretProviderRegistry(spec)


def test_nobody_there_is_told_without_the_password():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        rotator = MariaDBRotator(f"mariadb://admin:hunter22@127.0.0.1:{nobody.getsockname()[1]}/", "app")
        memory, rotation = rotated("the first", rotator)
        with pytest.raises(
            RotationError, match=r"the administrator cannot log in at 127\.0\.0\.1:"
        ) as caught:
            rotation.rotate(KEY)
    assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"
    assert rotation.status_of(KEY).state == "pending"
    assert memory.get_secret(KEY) == "the first"


_GREETING = (
    b"\x0a10.11.6-MariaDB\0"
    + bytes(4)
    + b"12345678\0"
    + b"\xff\xf7\x2d\x02\0\xff\x81\x15"
    + bytes(10)
    + b"123456789012\0mysql_native_password\0"
)


@pytest.mark.parametrize(
    "plugin", [b"mysql_clear_password", b"dialog", b"sha256_password", b"caching_sha2_password"]
)
def test_a_password_is_not_given_to_whoever_asks_for_it(plugin):
    """What listens there is not the server: it greets as one, and asks for the password itself."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def impersonate():
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(60)
                connection.sendall(_packet(0, _GREETING))
                heard.append(connection.recv(65536))
                connection.sendall(
                    _packet(2, b"\xfe" + plugin + b"\0" + (b"\x02Password: " if plugin == b"dialog" else b""))
                )
                heard.append(connection.recv(65536))

        asking = threading.Thread(target=impersonate)
        asking.start()
        rotator = MariaDBRotator(f"mariadb://admin:hunter22@127.0.0.1:{listening.getsockname()[1]}/", "app")
        memory, rotation = rotated("the first", rotator)
        with pytest.raises(RotationError, match="asks for the password itself") as caught:
            rotation.rotate(KEY)
        asking.join()
    assert heard[0]
    assert b"hunter22" not in b"".join(heard)
    assert heard[1] == b""
    assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"
    assert memory.get_secret(KEY) == "the first"


def _packet(number, body):
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def test_a_server_that_says_nothing_ends_at_the_time_out():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        rotator = MariaDBRotator(
            f"mariadb://a@127.0.0.1:{silent.getsockname()[1]}/", "app", timeout_seconds=0.3
        )
        with pytest.raises(RotationError, match="timed out"):
            rotator.verify(KEY, "any")


@pytest.mark.parametrize("after", [0, 2])
def test_an_answer_that_trickles_in_ends_at_the_time_out(after, monkeypatch):
    """From the beginning, or once the login and what follows it have been answered.

    The thread that waits for the answer closes the connection: no other says goodbye there meanwhile.
    """
    ended, closed = threading.Event(), []
    monkeypatch.setattr(pymysql.connections.Connection, "close", closed.append)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def trickle():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(60)
                if after:
                    connection.sendall(_packet(0, _GREETING))
                for number in range(after):
                    connection.recv(65536)
                    connection.sendall(_packet(2 if not number else 1, b"\0\0\0\2\0\0\0"))
                connection.sendall(b"\xff\xff\0" + bytes([int(after > 0)]))  # the head of a long answer
                while not ended.wait(0.02):
                    connection.sendall(b"x")

        slow = threading.Thread(target=trickle)
        slow.start()
        rotator = MariaDBRotator(
            f"mariadb://a@127.0.0.1:{listening.getsockname()[1]}/", "app", timeout_seconds=0.3
        )
        try:
            with pytest.raises(RotationError, match="timed out"):
                rotator.verify(KEY, "any")
        finally:
            ended.set()
            slow.join()
    assert closed == []


def test_an_answer_that_comes_just_too_late_is_a_time_out_as_well():
    """Its connection is closed by its owner alone: a second time is an error for PyMySQL."""
    rotator = MariaDBRotator("mariadb://a@127.0.0.1:9/", "app", timeout_seconds=0.05)
    connection, released, dropped = pymysql.connect(defer_connect=True), threading.Event(), threading.Event()

    def late():
        assert released.wait(60)
        answer = {"late"}
        weakref.finalize(answer, dropped.set)
        return answer

    with pytest.raises(pymysql.OperationalError, match="timed out"):
        rotator._within(connection, late)
    released.set()
    assert dropped.wait(60)
    connection.close()


def test_a_secret_that_is_not_of_these_users_is_refused_before_anything_happens():
    one = MariaDBRotator("mariadb://127.0.0.1:9/", "app@10.%")
    two = MariaDBRotator("mariadb://127.0.0.1:9/", "app", role_b="app_b", strategy="alternating")
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
    assert repr(two) == "<MariaDBRotator of app and app_b at 127.0.0.1:9>"


# --- with one ---


@pytest.fixture(scope="module")
def mariadb():
    if not is_here():
        pytest.skip("there is no MariaDB here")
    running = MariaDBServer()
    yield running
    running.stop()


class Users:
    def __init__(self, server, connection):
        self.server, self.connection = server, connection
        self.first = generate_password()
        self.pair = json.dumps({"username": "app", "password": self.first, "host": "db"})

    def run(self, statement):
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def logs_in(self, value, user="app"):
        login = json.loads(value) if value.startswith("{") else {"username": user, "password": value}
        try:
            self.server.login(login["username"], login["password"]).close()
        except pymysql.OperationalError:
            return False
        return True

    def names(self):
        return sorted(self.run("SELECT User, Host FROM mysql.global_priv"))


@pytest.fixture
def accounts(mariadb):
    connection = mariadb.login("admin", mariadb.password)
    made = Users(mariadb, connection)
    before = made.names()
    for name in ("app", "app_b"):
        made.run(f"CREATE USER {name}@'%' IDENTIFIED BY '{made.first}'")
    yield made
    for user, host in made.names():
        if (user, host) not in before:
            made.run(f"DROP USER '{user}'@'{host}'")
    connection.close()


@pytest.fixture
def one(mariadb, accounts):
    return MariaDBRotator(mariadb.url(), "app")


@pytest.fixture
def two(mariadb, accounts):
    return MariaDBRotator(mariadb.url(), "app", role_b="app_b", strategy="alternating")


class Kit(RotatorConformance):
    deaths_every = 1
    deaths_times = 25

    @pytest.fixture
    def logs_in(self, accounts):
        return accounts.logs_in

    @pytest.fixture
    def users(self, accounts):
        return accounts.names


@pytest.mark.torture
class TestSingle(Kit):
    @pytest.fixture
    def rotator(self, one):
        return one

    @pytest.fixture
    def secret(self, accounts):
        return accounts.first


@pytest.mark.torture
class TestAlternating(Kit):
    keeps_old = True

    @pytest.fixture
    def rotator(self, two):
        return two

    @pytest.fixture
    def secret(self, accounts):
        return accounts.pair


@pytest.mark.torture
def test_no_password_is_in_the_servers_logs(mariadb, accounts, one):
    _, rotation = rotated(accounts.first, one)
    rotation.rehearse(KEY)
    rotation.rotate(KEY, "a-password-that-nobody-else-has")
    assert b"ALTER USER 'app'@'%' IDENTIFIED VIA mysql_native_password USING" in mariadb.texts()
    assert b"a-password-that-nobody-else-has" not in mariadb.texts()


@pytest.mark.torture
def test_a_user_keeps_its_plugin_its_limits_and_its_other_ways(mariadb, accounts, one):
    accounts.run("INSTALL SONAME 'auth_ed25519'")
    accounts.run(
        f"CREATE OR REPLACE USER app@'%' IDENTIFIED VIA unix_socket OR ed25519 USING PASSWORD('{accounts.first}') "
        "WITH MAX_USER_CONNECTIONS 7"
    )
    accounts.run(f"CREATE USER app@'10.%' IDENTIFIED BY '{accounts.first}'")
    memory, rotation = rotated(accounts.first, one)
    rotation.rehearse(KEY)
    rotation.rotate(KEY)
    assert accounts.logs_in(memory.get_secret(KEY))
    (made,) = accounts.run("SHOW CREATE USER app@'%'")[0]
    key = hashed(memory.get_secret(KEY), "ed25519")
    assert f"IDENTIFIED VIA unix_socket OR ed25519 USING '{key}' WITH MAX_USER_CONNECTIONS 7" in made
    (made,) = accounts.run("SHOW CREATE USER app@'10.%'")[0]
    assert hashed(memory.get_secret(KEY), "mysql_native_password") in made


@pytest.mark.torture
def test_one_host_alone_where_that_is_named(mariadb, accounts):
    accounts.run(f"CREATE USER app@'10.%' IDENTIFIED BY '{accounts.first}'")
    memory, rotation = rotated(accounts.first, MariaDBRotator(mariadb.url(), "app@%"))
    rotation.rotate(KEY)
    assert accounts.logs_in(memory.get_secret(KEY))
    (made,) = accounts.run("SHOW CREATE USER app@'10.%'")[0]
    assert hashed(accounts.first, "mysql_native_password") in made


@pytest.mark.torture
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER USER app@'%' ACCOUNT LOCK", "the account 'app' for '%' is locked"),
        (
            "ALTER USER app@'%' IDENTIFIED VIA unix_socket",
            "logs in by unix_socket: it has not just one password",
        ),
        (
            "ALTER USER app@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('a') OR ed25519 USING PASSWORD('b')",
            "logs in by mysql_native_password or ed25519: it has not just one password",
        ),
        ("DROP USER app@'%'", "there is no user 'app'"),
        (
            "REVOKE SELECT ON mysql.global_priv FROM keeper@'%'",
            "looking at 'app' in mysql.global_priv was refused",
        ),
    ],
)
def test_a_user_whose_new_password_could_not_work_is_left_alone(accounts, one, change, expected):
    accounts.run("INSTALL SONAME 'auth_ed25519'")
    accounts.run(change)
    memory, rotation = rotated(accounts.first, one)
    try:
        for step in (rotation.rehearse, rotation.rotate):
            with pytest.raises(RotationError, match=expected):
                step(KEY)
    finally:
        accounts.run("GRANT SELECT ON mysql.global_priv TO keeper@'%'")
    assert memory.get_secret(KEY) == accounts.first


@pytest.mark.torture
def test_an_expired_password_is_good_again_after_a_rotation(accounts, one):
    """It logs in, and its first statement is refused: so `verify` makes one."""
    accounts.run("ALTER USER app@'%' PASSWORD EXPIRE")
    with pytest.raises(RotationError, match="1820"):
        one.verify(KEY, accounts.first)
    memory, rotation = rotated(accounts.first, one)
    rotation.rotate(KEY)
    one.verify(KEY, memory.get_secret(KEY))


@pytest.mark.torture
def test_the_administrators_own_password_is_rotated_by_itself(mariadb, accounts):
    accounts.run("CREATE USER own@'%' IDENTIFIED BY 'of-its-own'")
    accounts.run("GRANT CREATE USER ON *.* TO own@'%'")
    accounts.run("GRANT SELECT ON mysql.global_priv TO own@'%'")
    rotator = {
        "type": "mariadb",
        "url": f"mariadb://own@127.0.0.1:{mariadb.port}/",
        "password": "${secret:app:admin}",
        "role": "own",
    }
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory", "secrets": {"admin": "of-its-own"}}}},
        "secrets": {"ADMIN": {"key": "admin", "rotate": {"rotator": rotator}}},
    }
    with SecretProviderRegistry(spec) as registry:
        for _ in range(2):
            SecretRotation(registry, rotator=registry.rotator("ADMIN")).rotate("admin")
            assert accounts.logs_in(registry.get_secret("admin"), "own")
        dying = registry.rotator("ADMIN")

        def dies(*_):
            raise KeyboardInterrupt

        dying.verify = dies
        with pytest.raises(KeyboardInterrupt):
            SecretRotation(registry, rotator=dying).rotate("admin")
        SecretRotation(registry, rotator=registry.rotator("ADMIN")).resume("admin")
        assert accounts.logs_in(registry.get_secret("admin"), "own")


@pytest.mark.torture
def test_open_sessions_live_on(mariadb, accounts, one):
    session = mariadb.login("app", accounts.first)
    _, rotation = rotated(accounts.first, one)
    rotation.rotate(KEY)
    with session.cursor() as cursor:
        cursor.execute("SELECT 1")
    session.close()
    assert not accounts.logs_in(accounts.first)


@pytest.mark.torture
def test_open_sessions_outlive_a_lock_and_the_user(mariadb, accounts):
    session = mariadb.login("app", accounts.first)
    with session.cursor() as cursor:
        for change in ("ALTER USER app@'%' ACCOUNT LOCK", "DROP USER app@'%'"):
            accounts.run(change)
            assert not accounts.logs_in(accounts.first)
            assert cursor.execute("SELECT 1") == 1
    session.close()


@pytest.mark.torture
def test_of_two_passwords_the_first_is_what_set_password_changes(accounts):
    """PyMySQL lets the server ask once for another plugin or salt, and takes a second time for an error."""
    accounts.run("INSTALL SONAME 'auth_ed25519'")

    def passwords(*words, plugin="mysql_native_password"):
        ways = [f"{plugin} USING PASSWORD('{words[0]}')"]
        ways += [f"mysql_native_password USING PASSWORD('{one}')" for one in words[1:]]
        accounts.run(f"CREATE OR REPLACE USER app@'%' IDENTIFIED VIA {' OR '.join(ways)}")

    passwords("one", "two")
    assert [accounts.logs_in(one) for one in ("one", "two", "neither")] == [True, True, False]
    accounts.run("SET PASSWORD FOR app@'%' = PASSWORD('three')")
    assert [accounts.logs_in(one) for one in ("one", "two", "three")] == [False, True, True]
    passwords("one", "two", "three")
    with pytest.raises(pymysql.OperationalError, match="multiple auth switch requests"):
        accounts.server.login("app", "three")
    passwords("one", "two", plugin="ed25519")
    assert accounts.logs_in("one")
    with pytest.raises(pymysql.OperationalError, match="multiple auth switch requests"):
        accounts.server.login("app", "two")


@pytest.mark.torture
@pytest.mark.parametrize("password", ["gr\u00f6\u00dfer", "gr\u00f6\u00dfer als 10 \u20ac"])
def test_a_password_of_any_characters_is_sent_as_the_server_keeps_it(accounts, one, password):
    """In UTF-8; PyMySQL, given text, sends Latin-1, with which nobody else logs in."""
    _, rotation = rotated(accounts.first, one)
    assert rotation.rotate(KEY, password).state == "current"
    accounts.server.login("app", password.encode()).close()
    [[ours]] = accounts.run("SELECT Priv FROM mysql.global_priv WHERE User = 'app'")
    accounts.run(f"ALTER USER app@'%' IDENTIFIED BY '{password}'")
    [[theirs]] = accounts.run("SELECT Priv FROM mysql.global_priv WHERE User = 'app'")
    stored = [json.loads(one)["authentication_string"] for one in (ours, theirs)]
    assert stored[0] == stored[1]


@pytest.mark.torture
def test_the_same_password_again_has_the_same_hash(accounts):
    def kept():
        return accounts.run("SELECT Priv FROM mysql.global_priv WHERE User = 'app'")

    accounts.run("ALTER USER app@'%' IDENTIFIED BY 'one'")
    before = json.loads(kept()[0][0])["authentication_string"]
    accounts.run("ALTER USER app@'%' IDENTIFIED BY 'one'")
    assert (
        json.loads(kept()[0][0])["authentication_string"] == before == hashed("one", "mysql_native_password")
    )
