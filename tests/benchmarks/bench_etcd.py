"""What the etcd provider makes of a read and of a hundred, beside a bare request to the same server."""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any

from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider
from timing import medians, row, seconds

sys.path.insert(0, str(Path(__file__).parents[1]))

from etcd_server import EtcdServer  # the tests run it too

_ROUNDS, _SECRETS, _LATENCY = 600, 100, 0.02


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    server = EtcdServer()
    try:
        return [*_reads(server), *_batches(server)]
    finally:
        server.stop()


def _reads(server: EtcdServer) -> list[dict[str, Any]]:
    server.ask("/v3/kv/put", {"key": base64.b64encode(b"bare").decode(), "value": "dmFsdWU="})
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    asked = json.dumps({"key": base64.b64encode(b"bare").decode()})

    def bare() -> bytes:
        connection.request("POST", "/v3/kv/range", asked)
        return base64.b64decode(json.load(connection.getresponse())["kvs"][0]["value"])

    with EtcdSecretProvider(server.url, encryption_key=os.urandom(32)) as provider:
        provider.set_secret("app/key", "value")
        provider.get_secret("app/key")
        got = medians(_ROUNDS, lambda: provider.get_secret("app/key"), bare)
    connection.close()
    return [row("etcd: one read / bare http.client's", *got, 1.3)]


def _batches(server: EtcdServer) -> list[dict[str, Any]]:
    names = [f"app/{number}" for number in range(_SECRETS)]
    with FaultProxy(server.port) as proxy:
        far = f"http://127.0.0.1:{proxy.port}"
        with EtcdSecretProvider(far, prefix="batches/", encryption_key=os.urandom(32)) as provider:
            provider.set_secrets(dict.fromkeys(names, "value"))
            provider.get_secrets(names)
            proxy.latency = _LATENCY
            together = seconds(lambda: provider.get_secrets(names))
            one_by_one = seconds(lambda: [provider.get_secret(name) for name in names])
    return [row("etcd: 100 reads behind 20 ms, batch / loop", together, one_by_one, 0.1)]
