"""`strongroom copy` between any two backends that need neither server nor program."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry
from strongroom.cli import main

PROVIDERS = {
    "directory": {"type": "directory", "path": "folder", "writable": True},
    "env": {"type": "env", "prefix": "MATRIX_"},
    "file": {"type": "file", "file_path": "secrets.enc", "key_file": "app.key"},
    "keepass": {"type": "keepass", "path": "secrets.kdbx", "password": "a database of the test"},
}
VALUES = {"app/password": "p\u00e4ss\nword ", "app/deep/key": "=x", "plain": "1234"}


def pairs():
    """Yield all pairs; those whose key takes seconds to derive with the mark of what takes long."""
    for pair in itertools.permutations(PROVIDERS, 2):
        slow = [pytest.mark.torture] if "keepass" in pair else []
        yield pytest.param(*pair, id="-".join(pair), marks=slow)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The bytes of an empty database: to make one costs a second."""
    import pykeepass

    path = tmp_path_factory.mktemp("keepass") / "empty.kdbx"
    pykeepass.create_database(str(path), password=PROVIDERS["keepass"]["password"]).save()
    return path.read_bytes()


@pytest.fixture
def environment():
    """Leave none of the variables that a copy makes."""
    yield
    for name in [name for name in os.environ if name.startswith("MATRIX_")]:
        del os.environ[name]


@pytest.mark.parametrize(("source", "target"), [*pairs()])
@pytest.mark.usefixtures("environment")
def test_copies_all_and_deletes_the_source(source, target, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    if "keepass" in {source, target}:
        Path("secrets.kdbx").write_bytes(request.getfixturevalue("database"))
    pipelines = {name: {"provider": provider} for name, provider in PROVIDERS.items()}
    Path("strongroom.yaml").write_text(json.dumps({"version": 1, "pipelines": pipelines, "default": source}))
    with SecretProviderRegistry("strongroom.yaml") as registry:
        registry.set_secrets(VALUES)
    assert main(["copy", source, target, "--prefix", "app/", "--delete-source"]) == 0
    assert main(["copy", source, target]) == 0
    with SecretProviderRegistry("strongroom.yaml") as registry:
        there, left = registry.pipeline(target), registry.pipeline(source)
        assert {key: there.get_secret(key) for key in there.list_secrets()} == VALUES
        assert left.list_secrets() == ["plain"]
