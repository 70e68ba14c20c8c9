"""Random operations by two hosts against a plain model."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom.encryption.keys import generate_key
from strongroom.errors import ConflictError, SecretNotFoundError
from strongroom_postgresql import PostgreSQLSecretProvider

KEY = generate_key()
KEYS = ("a", "a/b", "a/b/c", "b")
_numbers = itertools.count()
OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["set", "both", "if", "stage", "promote", "discard", "delete", "recover", "destroy"]),
        st.sampled_from(KEYS),
    ),
    max_size=20,
)


class Model:
    """What is true of each key: its current value, what was deleted, what is staged."""

    def __init__(self):
        self.live, self.deleted, self.staged, self.known = {}, {}, {}, set()

    def write(self, key, value):
        self.live[key] = value
        self.deleted.pop(key, None)
        self.known.add(key)

    def remove(self, key):
        self.deleted[key] = self.live.pop(key)
        self.staged.pop(key, None)


def run(hosts, operations):  # noqa: C901, PLR0912  # a branch for each operation reads best
    model, count = Model(), itertools.count()
    for host, operation, key in operations:
        provider, value = hosts[host], f"value {next(count)}"
        if operation == "set":
            provider.set_secret(key, value)
            model.write(key, value)
        elif operation == "both":
            provider.set_secrets({key: value, "b": value})
            model.write(key, value)
            model.write("b", value)
        elif operation == "if":
            other = hosts[1 - host]
            expected = other.describe_secret(key).version if key in model.live else None
            provider.set_secret_if(key, value, expected)
            with pytest.raises(ConflictError):
                other.set_secret_if(key, "never", expected)
            model.write(key, value)
        elif operation == "stage":
            model.staged[key] = (provider.stage_secret(key, value), value)
        elif operation in {"promote", "discard"} and key in model.staged:
            version, staged = model.staged.pop(key)
            if operation == "discard":
                provider.discard_version(key, version)
            else:
                expected = provider.describe_secret(key).version if key in model.live else None
                provider.promote_version(key, version, expected_version=expected)
                model.write(key, staged)
        elif operation == "delete" and key in model.live:
            provider.delete_secret(key)
            model.remove(key)
        elif operation == "recover" and key in model.deleted:
            provider.recover_secret(key)
            model.live[key] = model.deleted.pop(key)
        elif operation == "destroy" and (key in model.live or key in model.deleted):
            provider.destroy_secret(key)
            model.live.pop(key, None)
            model.deleted.pop(key, None)
            model.staged.pop(key, None)
        for one in hosts:
            assert (
                one.get_secrets(KEYS if not model.deleted and model.known <= set(model.live) else model.live)
                == model.live
            )
            assert one.list_secrets() == sorted(model.live)
        for gone in model.deleted:
            with pytest.raises(SecretNotFoundError) as caught:
                provider.get_secret(gone)
            assert caught.value.reason == "deleted"
    assert hosts[0].verify(versions=True) == []


def check(url, server, operations):
    schema = f"model_{next(_numbers)}"
    hosts = [PostgreSQLSecretProvider(url, schema=schema, encryption_key=KEY) for _ in range(2)]
    try:
        run(hosts, operations)
    finally:
        for one in hosts:
            one.close()
        with server.login("postgres", server.password) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@settings(
    max_examples=5,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=OPERATIONS)
def test_two_hosts_and_a_model(url, server, operations):
    check(url, server, operations)


@pytest.mark.torture
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=OPERATIONS)
def test_two_hosts_and_a_model_for_long(url, server, operations):
    check(url, server, operations)
