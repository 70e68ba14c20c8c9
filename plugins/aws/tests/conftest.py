from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import boto3
import botocore.hooks
import botocore.session
import pytest
from botocore.hooks import EventAliaser
from moto import backends as moto_backends
from moto.core import responses
from moto.moto_api._internal.models import moto_api_backend
from strongroom.testing.faults import FaultProxy
from strongroom_aws import AWSSecretProvider

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

import aws_rules  # as above
from aws_moto import MotoServer  # as above


@pytest.fixture(scope="session", autouse=True)
def _sdk_read_once():
    """Let sessions share what none of them changes: each works it out again, for longer than a test's requests.

    And moto, which looks through its own folder at each request.
    """
    aliases: dict[str, str] = {}
    made_alone = EventAliaser.__init__

    def make(self, *args, **kwargs):
        made_alone(self, *args, **kwargs)
        self._alias_name_cache = aliases

    modules = list(moto_backends.list_of_moto_modules())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lru_cache(botocore.session.create_loader))
        patch.setattr(botocore.hooks, "accepts_kwargs", lru_cache(botocore.hooks.accepts_kwargs))
        patch.setattr(EventAliaser, "__init__", make)
        patch.setattr(moto_backends, "list_of_moto_modules", lambda: modules)
        patch.setattr(responses, "method_names_from_class", lru_cache(responses.method_names_from_class))
        yield


@pytest.fixture(scope="session")
def moto_server():
    """The address of moto's server, one a worker."""
    server = MotoServer()
    yield server.url
    server.close()


@pytest.fixture
def plain_moto(moto_server):
    """The address of moto, emptied: a worker runs one test at a time."""
    moto_api_backend.reset()
    return moto_server


@pytest.fixture
def moto(plain_moto, monkeypatch):
    """The address of moto, emptied, with AWS's rules where moto's are others."""
    aws_rules.follow_aws(monkeypatch)
    return plain_moto


@pytest.fixture
def keys():
    """The login that moto takes."""
    return {"access_key_id": "testing", "secret_access_key": "testing"}


@pytest.fixture
def options(moto, keys):
    """What reaches moto, and waits for it though the machine is busy."""
    return {"region_name": "us-east-1", "endpoint_url": moto, "timeout": 120, **keys}


@pytest.fixture
def make(options):
    """Return a function that makes providers, which are closed at the end."""
    made = []

    def provider(cls=AWSSecretProvider, **more):
        made.append(cls(**{**options, **more}))
        return made[-1]

    yield provider
    for one in made:
        one.close()


@pytest.fixture
def bare(moto):
    """boto3's own client of the same account."""
    client = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=moto,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    yield client
    client.close()


@pytest.fixture
def proxy(moto):
    """A wire to moto that can be spoiled."""
    with FaultProxy(int(moto.rpartition(":")[2])) as wire:
        yield wire
