"""A watch of etcd whose connection is cut again and again: what was missed is told, once and in order."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import closing

import pytest
from heard_versions import Heard
from strongroom import SecretProviderRegistry
from strongroom.encryption.keys import generate_key
from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider
from strongroom_etcd.client import Client

KEYS = [f"app/{number}" for number in range(4)]


@pytest.mark.parametrize(("changes", "cuts"), [(120, 2), pytest.param(10_000, 20, marks=pytest.mark.torture)])
def test_the_last_version_of_every_burst_is_told_over_disconnections(server, prefix, changes, cuts):
    key, heard = generate_key(), Heard(KEYS)
    options = {"prefix": prefix, "encryption_key": key}
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    written = {name: [] for name in KEYS}
    with (
        FaultProxy(server.port) as proxy,
        EtcdSecretProvider(f"http://127.0.0.1:{proxy.port}", **options) as watched,
        EtcdSecretProvider(server.url, **options) as writer,
        SecretProviderRegistry(spec) as registry,
    ):

        def write(count):
            for number in range(count):
                name = KEYS[number % len(KEYS)]
                before = written[name][-1] if written[name] else None
                written[name].append(writer.set_secret_if(name, f"value {number}", before))

        registry.register("app", watched, prefix="")
        write(len(KEYS))
        first = {name: versions[-1] for name, versions in written.items()}
        with registry.watch("app/", heard):
            burst = changes // cuts
            for _ in range(cuts):
                write(burst // 2)
                before, resets = proxy.connections, proxy.resets
                proxy.mode = "reset"  # the next notice cuts it off, and it does not find its way back at once
                write(burst - burst // 2)  # the last of them too: only who goes on from where it was hears it
                proxy.wait_for_reset(resets)
                proxy.mode = "pass"
                heard.wait_for({name: versions[-1] for name, versions in written.items()})
                assert proxy.connections > before
    heard.each_once_and_in_order(written, since=first)


def test_an_exit_as_it_connects_again_does_not_end_a_watch(server, prefix, monkeypatch):
    """As of a plugin that gives the password."""
    exits, stream = [SystemExit()], Client.stream
    heard = threading.Event()

    def streams(client, *asked):
        if threading.current_thread().name == "strongroom-etcd" and exits:
            raise exits.pop()
        return stream(client, *asked)

    monkeypatch.setattr(Client, "stream", streams)
    options = {"prefix": prefix, "encryption_key": generate_key()}
    with (
        FaultProxy(server.port) as proxy,
        EtcdSecretProvider(f"http://127.0.0.1:{proxy.port}", **options) as watched,
        EtcdSecretProvider(server.url, **options) as writer,
        closing(watched.subscribe_changes(lambda _: heard.set())),
    ):
        resets = proxy.resets
        proxy.mode = "reset"
        writer.set_secret("key", "value")
        proxy.wait_for_reset(resets)
        proxy.mode = "pass"
        assert heard.wait(300)
    assert exits == []


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not tell when it asks first")
def test_a_connection_that_a_firewall_forgot_is_given_up_within_a_minute(server, prefix, monkeypatch):
    """Neither end is told: only the system's own questions show that nobody is there."""
    found, connect = [], socket.create_connection
    asked = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")

    class Looking(socket.socket):
        def sendall(self, *args):
            tcp = [self.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in asked]
            found.append((self.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *tcp))
            return super().sendall(*args)

    def opened(*args, **options):
        made = connect(*args, **options)
        looking = Looking(fileno=made.detach())
        looking.settimeout(10)
        return looking

    monkeypatch.setattr(socket, "create_connection", opened)
    with EtcdSecretProvider(server.url, prefix=prefix, encryption_key=generate_key()) as provider:
        provider.subscribe_changes(lambda _: None).close()
    assert found
    for on, idle, again, most in found:
        assert on == 1
        assert idle + again * most <= 60
