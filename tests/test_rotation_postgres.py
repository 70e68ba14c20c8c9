"""The password of a real role is rotated while clients keep logging in."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from strongroom import SecretProviderRegistry, SecretRotation, generate_password
from strongroom.errors import RotationError

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from postgres_server import PostgresServer  # as above

KEY = "database/login"
USERS = ("app_a", "app_b")
CLIENTS = 4


@pytest.fixture(scope="module")
def server():
    running = PostgresServer()
    yield running
    running.stop()


@pytest.fixture
def admin(server):
    """The superuser's connection, with two users of the application."""
    with server.login("postgres", server.password) as connection:
        for user in USERS:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
        yield connection
        for user in USERS:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


@pytest.fixture
def registry(tmp_path):
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {
                    "type": "file",
                    "file_path": str(tmp_path / "secrets.enc"),
                    "key_file": str(tmp_path / "app.key"),
                },
                "middleware": [{"type": "caching"}],
            }
        },
    }
    with SecretProviderRegistry(spec) as made:
        yield made


def set_password(admin, value):
    login = json.loads(value)
    admin.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(login["user"]), sql.Literal(login["password"])
        )
    )


def the_other(_key, old):
    """Make a login of the other user, so that whoever holds the old one can go on with it."""
    user = USERS[1 - USERS.index(json.loads(old)["user"])]
    return json.dumps({"user": user, "password": generate_password()})


class Clients:
    """Threads that read the login and log in, again and again."""

    def __init__(self, server, registry):
        self.server, self.registry = server, registry
        self.logins, self.failures, self.users = [0] * CLIENTS, [], set()
        self.over = threading.Event()
        self.moved = threading.Condition()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(CLIENTS)]

    def work(self, number):
        while not self.over.is_set():
            login = json.loads(self.registry.get_secret(KEY))
            try:
                self.server.login(**login).close()
            except psycopg.OperationalError as error:
                self.failures.append(type(error).__name__)
            with self.moved:
                self.logins[number] += 1
                self.users.add(login["user"])
                self.moved.notify_all()

    def wait_for(self, logins):
        with self.moved:
            assert self.moved.wait_for(lambda: sum(self.logins) >= logins, timeout=300)

    def have_read_again(self):
        """Wait until nobody is at a log-in any more with what was read before: its role changes next."""
        with self.moved:
            begun = list(self.logins)
            assert self.moved.wait_for(
                lambda: all(now > before for now, before in zip(self.logins, begun, strict=True)), timeout=300
            )

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize(
    ("rotations", "logins"), [(8, 320), pytest.param(50, 10_000, marks=pytest.mark.torture)]
)
def test_no_login_fails_while_two_users_take_turns(server, admin, registry, rotations, logins):
    first = json.dumps({"user": USERS[0], "password": generate_password()})
    set_password(admin, first)
    registry.set_secret(KEY, first)

    def verify(_key, new):
        server.login(**json.loads(new)).close()

    rotation = SecretRotation(
        registry, generator=the_other, apply=lambda _key, _old, new: set_password(admin, new), verify=verify
    )
    with Clients(server, registry) as clients:
        for number in range(rotations):
            clients.wait_for(number * logins // rotations)
            assert rotation.rotate(KEY).state == "current"
            clients.have_read_again()
        clients.wait_for(logins)
    assert clients.failures == []
    assert sum(clients.logins) >= logins
    assert clients.users == set(USERS)
    assert registry.get_secret(KEY) != first


def test_a_password_that_does_not_work_is_never_handed_out(server, admin, registry):
    first = json.dumps({"user": USERS[0], "password": generate_password()})
    set_password(admin, first)
    registry.set_secret(KEY, first)

    def verify(_key, new):
        server.login(**json.loads(new)).close()

    forgetful = SecretRotation(registry, generator=the_other, apply=lambda *_: None, verify=verify)
    with pytest.raises(RotationError, match="verify failed: OperationalError") as caught:
        forgetful.rotate(KEY)
    assert "password authentication failed" in str(caught.value)
    server.login(**json.loads(registry.get_secret(KEY))).close()
    good = SecretRotation(registry, apply=lambda _key, _old, new: set_password(admin, new), verify=verify)
    assert good.rollback(KEY).state == "rolled_back"
    assert registry.get_secret(KEY) == first
    server.login(**json.loads(first)).close()
