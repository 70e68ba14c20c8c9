"""What the Vault provider makes of a read and of a hundred, beside bare hvac on the same OpenBao server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import hvac
from strongroom.testing.faults import FaultProxy
from strongroom_vault import VaultSecretProvider
from timing import medians, row, seconds

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "vault" / "tests"))

from bao_server import BaoServer  # the plugin's tests run it too

_ROUNDS, _SECRETS, _LATENCY, _COUNTED = 600, 100, 0.02, 20


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "requests.log"
        # The server's own log has a line for each request.
        more = f'audit "file" "count" {{\n  options {{\n    file_path = "{log}"\n  }}\n}}'
        server = BaoServer(folder, more=more)
        try:
            server.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
            return [*_reads(server, log), *_batches(server)]
        finally:
            server.stop()


def _reads(server: BaoServer, log: Path) -> list[dict[str, Any]]:
    client = hvac.Client(server.url, token=server.token)
    with VaultSecretProvider(server.url, server.token) as provider:
        provider.set_secret("k", "value")

        def bare() -> Any:
            read = client.secrets.kv.v2.read_secret_version("k", raise_on_deleted_version=True)
            return read["data"]["data"]["value"]

        def ours() -> Any:
            return provider.get_secret("k")

        counted = []
        for call in (ours, bare):
            before = _requests(log)
            for _ in range(_COUNTED):
                call()
            counted.append(_requests(log) - before)
        # In turns call by call: what else the machine does then moves both medians alike.
        mine, theirs = medians(_ROUNDS, ours, bare)
    client.adapter.close()
    return [
        row("vault: one read / bare hvac", mine, theirs, 1.10),
        {
            "name": f"vault: requests of {_COUNTED} reads / bare hvac's",
            "ratio": counted[0] / counted[1],
            "limit": 1,
            "detail": f"{counted[0]} against {counted[1]}, counted at the server",
        },
    ]


def _requests(log: Path) -> int:
    return sum('"type":"request"' in line for line in log.read_text().splitlines())


def _batches(server: BaoServer) -> list[dict[str, Any]]:
    keys = [f"batch/k{number}" for number in range(_SECRETS)]
    with VaultSecretProvider(server.url, server.token) as provider:
        provider.set_secrets(dict.fromkeys(keys, "value"))
    found = []
    for latency, limit, conditions in ((_LATENCY, 0.1, "behind 20 ms"), (0.0, 1.0, "without latency")):
        with FaultProxy(server.port, latency=latency) as wire:
            url = f"http://127.0.0.1:{wire.port}" if latency else server.url
            client = hvac.Client(url, token=server.token)
            with VaultSecretProvider(url, server.token) as provider:
                mine, theirs = _batch(provider, client, keys)
            client.adapter.close()
        found.append(row(f"vault: {_SECRETS} reads {conditions}, batch / loop", mine, theirs, limit))
    return found


def _batch(provider: VaultSecretProvider, client: Any, keys: list[str]) -> tuple[float, float]:
    def bare() -> Any:
        read = client.secrets.kv.v2.read_secret_version
        return [read(key, raise_on_deleted_version=True)["data"]["data"]["value"] for key in keys]

    assert list(provider.get_secrets(keys).values()) == bare()
    theirs = min(seconds(bare) for _ in range(2))
    (mine,) = medians(5, lambda: provider.get_secrets(keys))
    return mine, theirs
