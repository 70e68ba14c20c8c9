"""What the Azure provider adds to a read: time, beside the bare client's read of the same vault.

The vault is the loopback server of the plugin's tests, in a process of its own, so that its work and this process's
do not wait for each other's turn at the interpreter.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[2] / "plugins" / "azure" / "tests"
_ROUNDS, _READS = 9, 120
_SECRETS, _LATENCY = 100, 0.02
_SERVER = """
import sys, trustme
sys.path.insert(0, sys.argv[1])
from azure_loopback import Server
from azure_store import Store
ca = trustme.CA()
ca.cert_pem.write_to_path(sys.argv[2])
store = Store()
store.delay = float(sys.argv[3])
server = Server(store, ca.issue_cert("127.0.0.1"))
print(server.url, flush=True)
sys.stdin.read()
"""


class _Login:
    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken("benchmark", int(time.time()) + 3600)


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    return [_read_row(), _batch_row()]


def _read_row() -> dict[str, Any]:
    with _vault(0.0) as (provider, client):
        provider.set_secret("k", "value")
        peer = [client.get_secret("k") for _ in range(20)] and []
        ours: list[float] = [0.0 for _ in range(20) if not provider.get_secret("k")]
        for _ in range(_ROUNDS):
            # Alternating, so that what else the machine does meets both alike.
            peer.append(_timed(lambda: client.get_secret("k"), _READS))
            ours.append(_timed(lambda: provider.get_secret("k"), _READS))
    return _row("azure: one read / bare client", ours, peer, 1.10, _READS)


def _batch_row() -> dict[str, Any]:
    keys = [f"k{number}" for number in range(_SECRETS)]
    with _vault(_LATENCY) as (provider, client):
        for key in keys:
            client.set_secret(key, "value")
        provider.get_secrets(keys)
        peer = [_timed(lambda: [client.get_secret(key) for key in keys], 1)]
        ours = [_timed(lambda: provider.get_secrets(keys), 1) for _ in range(3)]
    return _row(
        f"azure: {_SECRETS} reads behind {_LATENCY * 1000:.0f} ms, batch / loop", ours, peer, 0.15, _SECRETS
    )


def _row(name: str, ours: list[float], peer: list[float], limit: float, reads: int) -> dict[str, Any]:
    mine, theirs = statistics.median(ours), statistics.median(peer)
    detail = f"{mine / reads * 1e3:.2f} ms a read against {theirs / reads * 1e3:.2f} ms"
    return {"name": name, "ratio": mine / theirs, "limit": limit, "detail": detail}


def _timed(work: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - started


@contextlib.contextmanager
def _vault(latency: float) -> Iterator[tuple[Any, Any]]:
    """Give a provider and a bare client on an empty vault."""
    from azure.keyvault.secrets import SecretClient
    from strongroom_azure import AzureSecretProvider

    with tempfile.TemporaryDirectory() as folder:
        ca = str(Path(folder, "ca.pem"))
        command = [sys.executable, "-c", _SERVER, str(_TESTS), ca, str(latency)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            options: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": ca}
            with (
                AzureSecretProvider(url, credential=_Login(), client_options=options) as provider,
                SecretClient(url, _Login(), **options) as client,
            ):
                yield provider, client
            server.stdin.close()


if __name__ == "__main__":
    for row in rows():
        print(f"{row['name']}: {row['ratio']:.3f} (limit {row['limit']}), {row['detail']}")  # noqa: T201  # run by hand
