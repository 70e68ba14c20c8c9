"""The same on ministack, which has AWS's semantics in two places where moto has others: promotions and deletions.

It pins other versions of botocore than the tests do, so it is not a test dependency: put its command on the PATH (pip
install ministack, in an environment of its own) and these tests run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid

import pytest
from free_ports import free_port
from strongroom.errors import ConflictError, SecretNotFoundError
from strongroom_aws import AWSSecretProvider

COMMAND = shutil.which("ministack")
PATIENCE = 120  # seconds for the server to start on a busy machine

pytestmark = pytest.mark.skipif(
    COMMAND is None, reason="no second AWS: the command ministack is not on the PATH (pip install ministack)"
)


@pytest.fixture(scope="module")
def ministack(tmp_path_factory):
    """The address of a ministack server."""
    port, home = free_port(), tmp_path_factory.mktemp("ministack")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "BIND_HOST": "127.0.0.1",  # it would listen on all addresses
        "GATEWAY_PORT": str(port),
    }
    with (
        open(home / "log", "wb") as log,  # noqa: PTH123  # beside its other arguments
        subprocess.Popen([COMMAND], env=environment, cwd=home, stdout=log, stderr=log) as server,
    ):
        try:
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > until:
                        pytest.fail((home / "log").read_text()[-2000:])
                    time.sleep(0.02)  # the server tells no other way that it listens
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(300)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture
def provider(ministack):
    login = {"access_key_id": "test", "secret_access_key": "test"}
    with AWSSecretProvider("us-east-1", endpoint_url=ministack, **login) as made:
        yield made


@pytest.fixture
def key():
    """A key of this test alone: the server is emptied by nobody."""
    return f"app/{uuid.uuid4()}"


def test_a_promoted_version_is_what_readers_get(provider, key):
    provider.set_secret(key, "old")
    before = provider.describe_secret(key).version
    pending = provider.stage_secret(key, "new")
    assert provider.get_secret(key) == "old"
    assert provider.get_secret_version(key, pending) == "new"
    provider.promote_version(key, pending, expected_version=before)
    assert provider.get_secret(key) == "new"
    assert provider.get_secrets([key]) == {key: "new"}
    assert provider.describe_secret(key).version == pending
    assert provider.get_secret_version(key, before) == "old"
    states = {one.version: one.state for one in provider.list_versions(key)}
    assert states == {pending: "current", before: "previous"}


def test_a_promotion_over_another_version_is_a_conflict(provider, key):
    provider.set_secret(key, "old")
    before = provider.describe_secret(key).version
    pending = provider.stage_secret(key, "new")
    provider.set_secret(key, "somebody else's")
    with pytest.raises(ConflictError):
        provider.promote_version(key, pending, expected_version=before)
    assert provider.get_secret(key) == "somebody else's"


def test_a_discarded_version_is_gone(provider, key):
    provider.set_secret(key, "old")
    pending = provider.stage_secret(key, "new")
    provider.discard_version(key, pending)
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version(key, pending)
    assert provider.get_secret(key) == "old"


def test_setting_what_waits_for_its_deletion_restores_it(provider, key):
    provider.set_secret(key, "old")
    provider.delete_secret(key)
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret(key)
    assert caught.value.reason == "deleted"
    assert key not in provider.list_secrets("app/")
    provider.set_secret(key, "new")
    assert provider.get_secret(key) == "new"
    assert key in provider.list_secrets("app/")


def test_a_conditional_write_needs_the_current_version(provider, key):
    first = provider.set_secret_if(key, "one", None)
    with pytest.raises(ConflictError):
        provider.set_secret_if(key, "two", None)
    provider.set_secret_if(key, "two", first)
    with pytest.raises(ConflictError):
        provider.set_secret_if(key, "three", first)
    assert provider.get_secret(key) == "two"


def test_batches_of_more_than_one_call(provider, key):
    values = {f"{key}/{number}": f"value {number}" for number in range(45)}
    for name, value in values.items():
        provider.set_secret(name, value)
    assert provider.get_secrets([*values, f"{key}/absent"]) == values
