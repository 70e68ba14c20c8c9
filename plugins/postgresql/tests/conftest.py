from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from postgres_server import PostgresServer  # as above
from strongroom.encryption.keys import generate_key
from strongroom_postgresql import PostgreSQLSecretProvider

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    """One server for all tests of a worker that harm nobody; each has a schema of its own."""
    running = PostgresServer()
    yield running
    running.stop()


@pytest.fixture
def url(server):
    return f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}/postgres?sslmode=disable"


@pytest.fixture
def schema(server):
    name = f"test_{next(_numbers)}"
    yield name
    with server.login("postgres", server.password) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def encryption_key():
    return generate_key()


@pytest.fixture
def make(url, schema, encryption_key):
    """A function that makes providers as separate hosts would; all end with the test."""
    made = []

    def provider(address=url, **options):
        options = {"schema": schema, "encryption_key": encryption_key, "timeout": 120, **options}
        made.append(PostgreSQLSecretProvider(address, **options))
        return made[-1]

    yield provider
    for one in made:
        one.close()


@pytest.fixture
def admin(server):
    with server.login("postgres", server.password) as connection:
        yield connection
