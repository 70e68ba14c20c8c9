from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import trustme
from azure.keyvault.secrets._shared import http_challenge_cache

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from azure.core.credentials import AccessToken  # as above
from azure.keyvault.secrets import SecretClient  # as above
from azure_loopback import Server  # as above
from azure_store import Store  # as above
from strongroom.testing.faults import FaultProxy  # as above
from strongroom_azure import AzureSecretProvider  # as above
from strongroom_azure.service import KeyVault  # as above


class Login:
    """A credential as azure-identity's are: it gives a token, and counts how often."""

    def __init__(self, token="loopback-token", error=None, until=None):
        self.token, self.error, self.until = token, error, until
        self.asked = 0

    def get_token(self, *scopes, **options):
        self.asked += 1
        if self.until is not None:
            self.until.wait(300)
        if self.error is not None:
            raise self.error
        return AccessToken(self.token, int(time.time()) + 3600)


class Bench:
    """A store behind a server, with providers and bare clients on it."""

    def __init__(self, authority):
        self.store = Store()
        self.ca = authority.path
        self.server = Server(self.store, authority.certificate)
        self.proxy = FaultProxy(self.server.port)
        self.client_options = {"verify_challenge_resource": False, "connection_verify": self.ca}
        self._closing = []

    def url(self, *, proxied=False):
        return f"https://127.0.0.1:{self.proxy.port}" if proxied else self.server.url

    def provider(self, *, proxied=False, **options):
        given = {"credential": Login(), "client_options": self.client_options, "timeout": 120, **options}
        made = AzureSecretProvider(self.url(proxied=proxied), **given)
        self._closing.append(made)
        return made

    def client(self, credential=None):
        """Return the official client: another tool on the same vault."""
        made = SecretClient(self.url(), credential or Login(), retry_total=0, **self.client_options)
        self._closing.append(made)
        return made

    def count(self, operation, *args):
        """Return the operations that the store saw of one call."""
        self.store.calls.clear()
        operation(*args)
        return list(self.store.calls)

    def close(self):
        self.store.closing.set()
        while self._closing:
            self._closing.pop().close()
        self.proxy.close()
        self.server.close()


class Authority:
    """A certificate authority made for the tests, its certificate for 127.0.0.1, and its own in a file."""

    def __init__(self, path):
        self.ca = trustme.CA()
        self.certificate = self.ca.issue_cert("127.0.0.1")
        self.path = str(path)
        self.ca.cert_pem.write_to_path(self.path)


@pytest.fixture(scope="session")
def azure_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("azure") / "ca.pem")


@pytest.fixture
def bench(azure_authority):
    # The SDK remembers challenges by address for the whole process, and a later server may get an earlier one's port.
    http_challenge_cache.clear()
    made = Bench(azure_authority)
    yield made
    made.close()


@pytest.fixture
def skips_pauses(skipped_time, monkeypatch):
    """Have providers that are made from here on try again without waiting, as if the time had passed."""
    skipped_time.skip_pauses_of(KeyVault, monkeypatch)


@pytest.fixture
def provider(bench):
    return bench.provider()


@pytest.fixture
def login():
    return Login
