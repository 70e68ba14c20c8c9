"""The conformance kit on a program for `type: exec`: what `strongroom plugins kit-exec` runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from strongroom import backends
from strongroom.errors import StrongroomError
from strongroom.testing.conformance import ProviderConformance

__all__ = ["TestProgram"]


@pytest.fixture(scope="session")
def running() -> Iterator[Any]:
    """The program, on a store that was found to be empty."""
    command = json.loads(os.environ["_STRONGROOM_KIT_COMMAND"])
    with backends.ExecSecretProvider(command) as provider:
        try:
            keys = provider.list_secrets()
        except StrongroomError as error:
            # Hundreds of tests would say the same.
            pytest.exit(f"the program does not list its secrets: {error}", 1)
        if keys:
            # Each test deletes whatever is there: that must not be somebody's secrets.
            pytest.exit(f"there are {len(keys)} secrets in the program's store, which must be empty", 1)
        yield provider
        _empty(provider)


def _empty(provider: Any) -> None:
    for key in provider.list_secrets():
        provider.delete_secret(key)


class TestProgram(ProviderConformance):
    """Each test has an emptied store; the program goes on running, as it does where it is used."""

    survives_forks = "a child starts a program of its own, whose store may be another"

    @pytest.fixture
    def provider(self, running: Any) -> Any:
        _empty(running)
        return running
