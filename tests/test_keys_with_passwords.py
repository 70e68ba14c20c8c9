"""The private key of a client's certificate: if it has a password, no call waits for somebody to type it.

OpenSSL would ask at the terminal, and the call would not end in its time.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
from strongroom import generate_key
from strongroom.rotation.http import HttpRotator
from strongroom_etcd import EtcdSecretProvider
from strongroom_mariadb import MariaDBRotator
from strongroom_redis import RedisCacheStore
from strongroom_redis.rotator import RedisRotator
from strongroom_vault import VaultSecretProvider

FILES = {"cert_file": "cert.pem", "key_file": "key.pem"}


def etcd(at):
    files = {"client_cert": "cert.pem", "client_key": "key.pem"}
    EtcdSecretProvider(f"https://{at}", encryption_key=generate_key(), timeout=1, **files).get_secret("k")


def vault(at):
    VaultSecretProvider(
        f"https://{at}", "a-token", client_cert="cert.pem", client_key="key.pem", timeout=1
    ).get_secret("k")


CALLS = {
    "etcd": etcd,
    "vault": vault,
    "rotator http": lambda at: HttpRotator(f"https://{at}", "a key of the test", **FILES).verify("k", "new"),
    "rotator mariadb": lambda at: MariaDBRotator(f"mariadb://u:p@{at}", "app", **FILES).verify("k", "new"),
    "rotator redis": lambda at: RedisRotator(f"rediss://{at}", "app", **FILES).verify("k", "new"),
    "redis": lambda at: RedisCacheStore(f"rediss://{at}", **FILES).get("k"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_password_of_a_private_key_is_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FILES.values():
        (tmp_path / name).touch()
    given = []

    def load(self, certfile, keyfile=None, password=None):
        given.append(password)
        raise ssl.SSLError(0, "it is read no further")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.suppress(Exception):
        call(f"127.0.0.1:{listening.getsockname()[1]}")
    assert given
    assert set(given) == {""}
