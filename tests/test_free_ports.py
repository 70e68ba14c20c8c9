"""A port that a server is told to take is there for it, however many others look for one meanwhile."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from free_ports import free_port

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a port be kept for another process"
)
LISTEN = """
import socket, sys
for port in map(int, sys.argv[1:]):
    with socket.create_server(("127.0.0.1", port)):  # which sets SO_REUSEADDR, as servers do
        pass
"""


def test_a_server_takes_it_again_and_again_while_nobody_else_does():
    port = free_port(successors=1)
    for one in (port, port + 1):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", one))
    subprocess.run([sys.executable, "-c", LISTEN, *map(str, (port, port, port + 1))], check=True)


def test_before_that_who_connects_is_refused():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()))


def test_each_is_given_once():
    ports = [free_port(successors=1) for _ in range(20)]
    assert len({one for port in ports for one in (port, port + 1)}) == 40
