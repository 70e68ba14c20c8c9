"""What the GCP provider makes of a read and of a hundred, beside the bare client on the same server.

The server is the gRPC one of the plugin's tests, in a process of its own, so that its work and this process's do not
wait for each other's turn at the interpreter. It waits before each answer, as the way to a service does, and counts.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timing import medians, row, seconds

_TESTS = Path(__file__).parents[2] / "plugins" / "gcp" / "tests"
_ROUNDS, _READS = 9, 120
_SECRETS, _LATENCY = 100, 0.02
_SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from gcp_loopback import GrpcServer
from gcp_store import Store
store, delay = Store(), float(sys.argv[2])
answer = store.answer
def slowly(name, request):
    time.sleep(delay)
    return answer(name, request)
store.answer = slowly if delay else answer
print(GrpcServer(store).port, flush=True)
for _ in sys.stdin:
    print(len(store.calls), flush=True)
"""


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    return [*_read(), _batch()]


def _read() -> list[dict[str, Any]]:
    with _project(0.0) as (provider, client, requests):
        provider.set_secret("k", "value")
        name = "projects/loopback/secrets/k/versions/latest"

        def bare() -> Any:
            return client.access_secret_version(name=name).payload.data.decode()

        def ours() -> Any:
            return provider.get_secret("k")

        before = requests()
        medians(1, ours, times=20)
        middle = requests()
        medians(1, bare, times=20)
        counted = [middle - before, requests() - middle]
        # In turns call by call: what else the machine does then moves both medians alike.
        mine, theirs = medians(_ROUNDS * _READS, ours, bare)
    return [
        row("gcp: one read / bare client", mine, theirs, 1.10),
        {
            "name": "gcp: requests of 20 reads / the bare client's",
            "ratio": counted[0] / counted[1],
            "limit": 1,
            "detail": f"{counted[0]} against {counted[1]}, counted at the server",
        },
    ]


def _batch() -> dict[str, Any]:
    keys = [f"k{number}" for number in range(_SECRETS)]
    names = [f"projects/loopback/secrets/{key}/versions/latest" for key in keys]
    with _project(_LATENCY) as (provider, client, _):
        for key in keys:
            provider.set_secret(key, "value")

        def bare() -> Any:
            return [client.access_secret_version(name=name).payload.data for name in names]

        provider.get_secrets(keys)
        theirs = min(seconds(bare) for _ in range(2))
        (mine,) = medians(3, lambda: provider.get_secrets(keys))
    return row(f"gcp: {_SECRETS} reads behind {_LATENCY * 1000:.0f} ms, batch / loop", mine, theirs, 0.10)


@contextlib.contextmanager
def _project(latency: float) -> Iterator[tuple[Any, Any, Any]]:
    """Give a provider and a bare client on an empty project, and what counts the requests at the server."""
    import grpc
    from google.cloud import secretmanager_v1 as sm
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )
    from strongroom_gcp import GCPSecretProvider

    command = [sys.executable, "-c", _SERVER, str(_TESTS), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        to, out = server.stdin, server.stdout
        assert to is not None
        assert out is not None
        port = int(out.readline())

        def wire() -> Any:
            # Channels to one address would share a connection.
            options = [("grpc.use_local_subchannel_pool", 1)]
            return SecretManagerServiceGrpcTransport(
                channel=grpc.insecure_channel(f"127.0.0.1:{port}", options)
            )

        def requests() -> int:
            to.write("\n")
            to.flush()
            return int(out.readline())

        theirs, ours = wire(), wire()
        try:
            with GCPSecretProvider("loopback", transport=ours) as provider:
                yield provider, sm.SecretManagerServiceClient(transport=theirs), requests
        finally:
            theirs.close()
            ours.close()
            to.close()


if __name__ == "__main__":
    for one in rows():
        print(f"{one['name']}: {one['ratio']:.3f} (limit {one['limit']}), {one['detail']}")  # noqa: T201  # run by hand
