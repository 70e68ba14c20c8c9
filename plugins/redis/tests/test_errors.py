"""Every class of redis-py's exceptions has its place in the table."""

from __future__ import annotations

import inspect

import pytest
import redis.exceptions
import redis.sentinel
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    StrongroomError,
)
from strongroom_redis.errors import TABLE, translate

CLASSES = {
    name: cls
    for module in (redis.exceptions, redis.sentinel)
    for name, cls in inspect.getmembers(module, inspect.isclass)
    if issubclass(cls, Exception)
}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_class_is_in_the_table(name):
    assert name in TABLE


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"OSError", "AttributeError", "ValueError"}))
def test_the_table_has_no_others(name):
    assert name in CLASSES


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.exceptions.ConnectionError("x"), BackendUnavailableError),
        (ConnectionResetError("x"), BackendUnavailableError),
        (redis.exceptions.NoPermissionError("NOPERM x"), PermissionDeniedError),
        (redis.exceptions.ResponseError("NOAUTH Authentication required."), AuthenticationError),
        (redis.exceptions.ResponseError("NOPERM this user has no permissions"), PermissionDeniedError),
        (
            redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
            BackendUnavailableError,
        ),
        (redis.exceptions.BusyLoadingError("Redis is loading"), BackendUnavailableError),
        (redis.exceptions.MovedError("1 127.0.0.1:7000"), BackendUnavailableError),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN x"), BackendUnavailableError),
        (redis.exceptions.ResponseError("OOM command not allowed"), BackendUnavailableError),
        (TypeError("x"), StrongroomError),
    ],
    ids=str,
)
def test_errors_are_told_apart(error, kind):
    assert type(translate(error, "reading", "redis://host:1/0")) is kind


def test_what_the_server_said_is_not_repeated():
    error = redis.exceptions.ResponseError("WRONGTYPE hunter22 is not a string")
    error_shown = translate(error, "reading", "redis://host:1/0")
    assert "hunter22" not in str(error_shown)
    assert "WRONGTYPE" in str(error_shown)
    assert "redis://host:1/0" in str(error_shown)
