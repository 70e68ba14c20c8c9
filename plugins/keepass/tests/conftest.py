from __future__ import annotations

from pathlib import Path

import pytest
from strongroom_keepass import KeePassSecretProvider

PASSWORD = "master of the tests"


@pytest.fixture(scope="session")
def quick():
    """An empty database whose key is derived in a moment: one round of Argon2 in one MiB."""
    return Path(__file__).with_name("quick.kdbx").read_bytes()


@pytest.fixture
def path(tmp_path, quick):
    path = tmp_path / "secrets.kdbx"
    path.write_bytes(quick)
    return path


@pytest.fixture
def provider(path):
    with KeePassSecretProvider(path, PASSWORD) as provider:
        yield provider


@pytest.fixture
def reopened(path):
    with KeePassSecretProvider(path, PASSWORD) as second:
        yield second
