"""Forked children of a process that uses Vault: as of gunicorn with --preload, Celery, multiprocessing."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path

import pytest
import trustme
from fork_crossing import crossing
from strongroom import SecretProviderRegistry
from strongroom.testing.conformance.forks import Children
from strongroom_vault import VaultSecretProvider, VaultTransitEncryption

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import BaoServer  # as above

CHILDREN = 8


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server behind TLS, and the file of its CA."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = ca.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(folder / "server.key")
    made.cert_chain_pems[0].write_to_path(folder / "server.pem")
    running = BaoServer(
        folder,
        listener=f'tls_cert_file = "{folder}/server.pem"\n  tls_key_file = "{folder}/server.key"',
        ca=folder / "ca.pem",
    )
    running.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    running.ca = folder / "ca.pem"
    yield running
    running.client.adapter.close()
    running.process.terminate()
    running.process.wait(300)


@pytest.fixture(params=["http", "tls"])
def options(request):
    """Where and how a server is reached: in clear, and over TLS."""
    if request.param == "tls":
        found = request.getfixturevalue("tls")
        return {"url": found.url, "token": found.token, "verify": str(found.ca)}
    found = request.getfixturevalue("server")
    return {"url": found.url, "token": found.token, "mount_point": request.getfixturevalue("mount")}


def read_of_all(provider, **how_often):
    """Fork while threads read, and read in eight children and the parent at the same time; return the count."""
    values = [f"value of {number}" for number in range(CHILDREN + 1)]
    for number, value in enumerate(values):
        provider.set_secret(f"w{number}/pw", value)
    return crossing(lambda number: provider.get_secret(f"w{number}/pw"), values, **how_often)


def test_children_and_parent_read_their_own(options):
    with VaultSecretProvider(**options) as provider:
        assert read_of_all(provider, rounds=1, reads=5) == 5 * (CHILDREN + 1)


@pytest.mark.torture
def test_a_hundred_thousand_reads_of_children_and_parent(options):
    with VaultSecretProvider(**options) as provider:
        assert read_of_all(provider, rounds=50, reads=223) == 50 * 223 * (CHILDREN + 1)


def test_a_child_remembers_its_own_values(options):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "vault", **options}, "middleware": [{"type": "caching"}]}},
    }
    with SecretProviderRegistry(spec) as registry:
        for number in range(4):
            registry.set_secret(f"w{number}/pw", f"value of {number}")
        assert registry.get_secret("w0/pw") == "value of 0"
        read = Children(3, lambda number: [registry.get_secret(f"w{number}/pw") for _ in range(3)]).results()
    assert read == [[f"value of {number}"] * 3 for number in (1, 2, 3)]


def test_transit_in_children(server):
    server.client.sys.enable_secrets_engine("transit", path="forked")
    server.client.secrets.transit.create_key("app", mount_point="forked")
    cipher = VaultTransitEncryption(server.url, "app", server.token, mount_point="forked")
    tokens = [cipher.encrypt(f"value of {number}") for number in range(4)]

    def work(number):
        return [cipher.decrypt(tokens[number]) for _ in range(5)]

    read = Children(3, work).results(meanwhile=lambda: work(0))
    assert read == [[f"value of {number}"] * 5 for number in (1, 2, 3)]
    server.client.sys.disable_secrets_engine("forked")


class Stub(http.server.ThreadingHTTPServer):
    """Answers as Vault does, and holds up the first login until it is told to go on."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.logging_in, self.go_on = threading.Event(), threading.Event()
        self.logins = self.connections = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.logins += 1
        if self.server.logins == 1:
            self.server.logging_in.set()
            self.server.go_on.wait(300)
        self.answer({"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True}})

    def do_GET(self):
        key = self.path.rpartition("/")[2]
        self.answer({"data": {"data": {"value": f"value of {key}"}, "metadata": {"version": 1}}})

    def answer(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def stub():
    with Stub() as running:
        yield running
        running.go_on.set()
        running.shutdown()


def test_a_fork_in_the_middle_of_a_login(stub):
    """The lock of the login is held by a thread that the child does not have."""
    auth = {"method": "approle", "role_id": "r", "secret_id": "s"}
    with VaultSecretProvider(stub.url, auth=auth, kv_version=2, timeout=60) as provider:
        found = []
        thread = threading.Thread(target=lambda: found.append(provider.get_secret("a")))
        thread.start()
        assert stub.logging_in.wait(300)
        assert Children(2, lambda number: provider.get_secret(f"b{number}")).results() == [
            "value of b1",
            "value of b2",
        ]
        stub.go_on.set()
        thread.join(300)
    assert found == ["value of a"]


def test_children_take_no_connection_of_their_parent(stub):
    """Each child makes one of its own; the parent's is still open after they have ended."""
    with VaultSecretProvider(stub.url, "t", kv_version=2) as provider:
        provider.get_secret("a")
        assert Children(3, lambda number: provider.get_secret(f"b{number}")).results() == [
            f"value of b{number}" for number in (1, 2, 3)
        ]
        provider.get_secret("a")
    assert stub.connections == 1 + 3
