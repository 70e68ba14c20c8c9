"""The gRPC channel that the provider makes itself, over TLS: what it does while nobody calls, and after an outage.

In a process of its own: gRPC reads the authorities that it trusts once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trustme

PROGRAM = """
import queue, sys
sys.path.insert(0, sys.argv[1])
import grpc
from gcp_loopback import GrpcServer
from gcp_store import PROJECT, Store
from google.auth.credentials import AnonymousCredentials
from strongroom.testing.faults import FaultProxy
from strongroom_gcp import GCPSecretProvider, service

asked = {}
secure_channel = grpc.secure_channel

def noted(target, credentials, options=None, **more):
    asked.update(options)
    return secure_channel(target, credentials, options=options, **more)

grpc.secure_channel = noted
service._IDLE_SECONDS = 1.0
pair = [(open(sys.argv[2], "rb").read(), open(sys.argv[3], "rb").read())]
server = GrpcServer(Store(), grpc.ssl_server_credentials(pair))
with FaultProxy(server.port) as wire:
    options = {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": f"127.0.0.1:{wire.port}"}}
    with GCPSecretProvider(PROJECT, timeout=120, **options) as provider:
        provider.set_secret("k", "v")
        assert provider.get_secret("k") == "v"
        assert asked["grpc.max_reconnect_backoff_ms"] == 2000, asked
        assert asked["grpc.max_receive_message_length"] == -1, asked
        states = queue.Queue()
        provider._connection._service.client.transport._grpc_channel.subscribe(states.put)
        while states.get(timeout=120) is not grpc.ChannelConnectivity.IDLE:
            pass
        before = wire.connections
        assert provider.get_secret("k") == "v"
        assert wire.connections > before
server.close()
print("done")
"""


def test_an_idle_channel_gives_its_connection_up_and_tries_soon_after_an_outage(tmp_path):
    """A connection that a firewall has dropped unnoticed would otherwise be used for a quarter of an hour."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), *files],
        env={**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
