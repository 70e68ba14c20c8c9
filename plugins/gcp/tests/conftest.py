from __future__ import annotations

import sys
from pathlib import Path

import grpc
import pytest

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from gcp_loopback import GrpcServer, RestServer  # as above
from gcp_store import PROJECT, Store  # as above
from google.auth.credentials import AnonymousCredentials  # as above
from google.cloud import secretmanager_v1 as sm  # as above
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (  # as above
    SecretManagerServiceGrpcTransport,
)
from strongroom.testing.faults import FaultProxy
from strongroom_gcp import GCPSecretProvider  # as above
from strongroom_gcp.service import SecretManager  # as above


class Bench:
    """A store behind a server, with providers and bare clients on it, over one of the two transports."""

    def __init__(self, transport):
        self.transport = transport
        self.store = Store()
        self.server = GrpcServer(self.store) if transport == "grpc" else RestServer(self.store)
        self.proxy = FaultProxy(self.server.port)
        self._closing = []

    def options(self, *, proxied=False):
        """Return the keyword arguments by which provider and official client alike reach the server."""
        port = self.proxy.port if proxied else self.server.port
        if self.transport == "grpc":
            channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
            ready = SecretManagerServiceGrpcTransport(channel=channel)
            self._closing.append(ready)
            return {"transport": ready}
        return {
            "transport": "rest",
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": f"http://127.0.0.1:{port}"},
        }

    def provider(self, *, proxied=False, project=PROJECT, **options):
        made = GCPSecretProvider(project, **{"timeout": 120, **self.options(proxied=proxied), **options})
        self._closing.append(made)
        return made

    def client(self):
        """Return the official client: another tool on the same project."""
        made = sm.SecretManagerServiceClient(**self.options())
        if self.transport == "rest":
            self._closing.append(made.transport)
        return made

    def put(self, name, data, **secret):
        """Write a secret as another tool would."""
        client, parent = self.client(), f"projects/{PROJECT}"
        secret.setdefault("replication", {"automatic": {}})
        client.create_secret(parent=parent, secret_id=name, secret=secret)
        client.add_secret_version(parent=f"{parent}/secrets/{name}", payload={"data": data})
        return client

    def close(self):
        self.store.closing.set()
        for held in reversed(self._closing):
            held.close()
        self.proxy.close()
        self.server.close()


@pytest.fixture(params=["grpc", "rest"])
def transport(request):
    return request.param


@pytest.fixture
def bench(transport):
    made = Bench(transport)
    yield made
    made.close()


@pytest.fixture
def skips_pauses(skipped_time, monkeypatch):
    """Have providers that are made from here on try again without waiting, as if the time had passed."""
    skipped_time.skip_pauses_of(SecretManager, monkeypatch)


@pytest.fixture
def provider(bench):
    return bench.provider()
