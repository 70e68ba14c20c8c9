"""The rotator `postgresql` beside clients that log in all the time: none is refused where two roles take turns."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time

import psycopg
import pytest
from postgres_server import PostgresServer
from psycopg import sql
from strongroom import SecretProviderRegistry, SecretRotation, generate_password
from strongroom_postgresql.rotator import PostgreSQLRotator

KEY = "database/login"


@pytest.fixture(scope="module")
def postgres():
    running = PostgresServer()
    yield running
    running.stop()


@pytest.fixture
def registry(tmp_path, postgres):
    first = generate_password()
    with postgres.login("postgres", postgres.password) as admin:
        for role in ("app", "app_b"):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(first))
            )
    store = {"type": "file", "file_path": str(tmp_path / "s.enc"), "key_file": str(tmp_path / "s.key")}
    spec = {"version": 1, "pipelines": {"app": {"provider": store, "middleware": [{"type": "caching"}]}}}
    with SecretProviderRegistry(spec) as made:
        made.set_secret(KEY, json.dumps({"username": "app", "password": first}))
        yield made


class Clients:
    """Threads that read the login and log in, again and again."""

    def __init__(self, postgres, registry, count):
        self.postgres, self.registry = postgres, registry
        self.logins, self.refused = [0] * count, []
        self.over = threading.Event()
        self.more = threading.Condition()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(count)]

    def work(self, number):
        while not self.over.is_set():
            login = json.loads(self.registry.get_secret(KEY))
            try:
                self.postgres.login(login["username"], login["password"]).close()
            except psycopg.OperationalError as error:
                self.refused.append(str(error))
            with self.more:
                self.logins[number] += 1
                self.more.notify_all()

    def have_read_again(self):
        """Wait until nobody is at a log-in any more with what was read before: its role changes next."""
        with self.more:
            begun = list(self.logins)
            went_on = self.more.wait_for(
                lambda: all(now > before for now, before in zip(self.logins, begun, strict=True)), 60
            )
        assert went_on

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize(
    ("rotations", "clients"), [(5, 2), pytest.param(1000, 16, marks=pytest.mark.torture)]
)
def test_no_login_is_refused_while_two_roles_take_turns(postgres, registry, rotations, clients, capsys):
    rotator = PostgreSQLRotator(postgres.url(), "app", role_b="app_b", strategy="alternating")
    rotation = SecretRotation(registry, rotator=rotator)
    with Clients(postgres, registry, clients) as running:
        for _ in range(rotations):
            assert rotation.rotate(KEY).state == "current"
            running.have_read_again()
    assert running.refused == []
    with capsys.disabled():
        sys.stderr.write(f"\n{rotations} rotations, {sum(running.logins)} log-ins, none refused\n")


@pytest.mark.torture
def test_what_one_rotation_costs(postgres, registry, capsys):
    """Told, not asserted: how busy the machine is would decide."""
    spans: dict[str, list[float]] = {"bare": [], "rotation": [], "window": []}
    for _ in range(100):
        began = time.perf_counter()
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER ROLE app_b PASSWORD {}").format(sql.Literal(generate_password())))
        spans["bare"].append(time.perf_counter() - began)

    class Timed(PostgreSQLRotator):
        def _alter(self, *args, **kwargs):
            super()._alter(*args, **kwargs)
            self.altered = time.perf_counter()

    rotator = Timed(postgres.url(), "app")
    rotation = SecretRotation(registry, rotator=rotator)
    for _ in range(100):
        began = time.perf_counter()
        rotation.rotate(KEY)
        ended = time.perf_counter()
        spans["rotation"].append(ended - began)
        spans["window"].append(ended - rotator.altered)
    middle = {name: statistics.median(found) * 1000 for name, found in spans.items()}
    with capsys.disabled():
        sys.stderr.write("".join(f"\n{name}: {one:.1f} ms at the median" for name, one in middle.items()))
    assert len(spans["window"]) == 100
