"""The provider passes the kit on a real server."""

from __future__ import annotations

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_postgresql import PostgreSQLSecretProvider, backend

KEY = generate_key()


class TestPostgreSQL(ProviderConformance):
    title = "postgresql"
    provider_class = PostgreSQLSecretProvider
    sdk_modules = ("psycopg", "pydantic", "pluggy")
    construction = (
        "from strongroom_postgresql import PostgreSQLSecretProvider; "
        "PostgreSQLSecretProvider('postgresql://db.example.com/app', key_file='app.key')"
    )
    listed_keys = 12
    hostile_keys = ("a'; DROP TABLE secret; --", "%s", "$1", "a\\b", 'with "quotes"')

    @pytest.fixture(autouse=True)
    def _short_pages(self, monkeypatch):
        monkeypatch.setattr(backend, "_PAGE", 5)

    @pytest.fixture
    def provider(self, url, schema):
        with PostgreSQLSecretProvider(url, schema=schema, encryption_key=KEY, timeout=120) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, url, schema, provider):
        with PostgreSQLSecretProvider(url, schema=schema, encryption_key=KEY, timeout=120) as other:
            yield other


class TestPostgreSQLBehindMiddleware(
    BehindMiddleware, kit=TestPostgreSQL, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestPostgreSQL)
