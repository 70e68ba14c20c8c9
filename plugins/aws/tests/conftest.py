from __future__ import annotations

import logging
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer
from strongroom_aws import AWSSecretProvider


@pytest.fixture(scope="session")
def moto():
    """The address of moto's server, one a worker."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def options(moto):
    """What reaches moto, emptied: it is one server a worker, and a worker runs one test at a time."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    return {
        "region_name": "us-east-1",
        "endpoint_url": moto,
        "access_key_id": "testing",
        "secret_access_key": "testing",
    }


@pytest.fixture
def make(options):
    made = []

    def provider(cls=AWSSecretProvider, **more):
        made.append(cls(**{**options, **more}))
        return made[-1]

    yield provider
    for one in made:
        one.close()


@pytest.fixture
def bare(options):
    """boto3's own client of the same account."""
    client = boto3.client(
        "secretsmanager",
        region_name=options["region_name"],
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["access_key_id"],
        aws_secret_access_key=options["secret_access_key"],
    )
    yield client
    client.close()
