"""What the AWS provider makes of a read and of a hundred, beside bare boto3 on the same server.

The server is moto's, in a process of its own, so that its work and this process's do not wait for each other's
turn at the interpreter. Latency is put before it by the fault proxy of strongroom's testing kit.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from timing import medians, row, seconds

_ROUNDS, _READS = 9, 60
_SECRETS, _LATENCY = 100, 0.02
_LOGIN = {"region_name": "us-east-1"}
_KEYS = ("testing", "testing")
_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    with _moto() as port:
        return [_read(port), _batch(port)]


def _read(port: int) -> dict[str, Any]:
    with _both(port) as (provider, client):
        provider.set_secret("k", "value")

        def bare() -> Any:
            return client.get_secret_value(SecretId="k")["SecretString"]

        def ours() -> Any:
            return provider.get_secret("k")

        medians(1, ours, bare, times=20)
        # In turns call by call: what else the machine does then moves both medians alike.
        mine, theirs = medians(_ROUNDS * _READS, ours, bare)
    return row("aws: one read / bare boto3", mine, theirs, 1.10)


def _batch(port: int) -> dict[str, Any]:
    from strongroom.testing.faults import FaultProxy

    keys = [f"k{number}" for number in range(_SECRETS)]
    with FaultProxy(port, latency=_LATENCY) as proxy, _both(port) as (near, _):
        near.set_secrets(dict.fromkeys(keys, "value"))
        with _both(proxy.port) as (provider, client):

            def bare() -> Any:
                return [client.get_secret_value(SecretId=key)["SecretString"] for key in keys]

            provider.get_secrets(keys)
            theirs = min(seconds(bare) for _ in range(2))
            (mine,) = medians(3, lambda: provider.get_secrets(keys))
    return row(f"aws: {_SECRETS} reads behind {_LATENCY * 1000:.0f} ms, batch / loop", mine, theirs, 0.10)


@contextlib.contextmanager
def _both(port: int) -> Iterator[tuple[Any, Any]]:
    """Give a provider and a bare client."""
    import boto3
    from strongroom_aws import AWSSecretProvider

    address = f"http://127.0.0.1:{port}"
    options = {"access_key_id": _KEYS[0], "secret_access_key": _KEYS[1]}
    session = boto3.Session(*_KEYS, **_LOGIN)
    with (
        AWSSecretProvider(**_LOGIN, endpoint_url=address, **options) as provider,
        contextlib.closing(session.client("secretsmanager", endpoint_url=address)) as client,
    ):
        yield provider, client


@contextlib.contextmanager
def _moto() -> Iterator[int]:
    """Give the port of an empty server."""
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()


if __name__ == "__main__":
    for one in rows():
        print(f"{one['name']}: {one['ratio']:.3f} (limit {one['limit']}), {one['detail']}")  # noqa: T201  # run by hand
