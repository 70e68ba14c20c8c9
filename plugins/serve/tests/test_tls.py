"""TLS with real handshakes, under an authority that the test itself makes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import ADMIN, EVERYTHING, Reply, spec_of
from served_process import write
from strongroom_serve import handshakes
from strongroom_serve.sockets import bound_tcp

PEM = serialization.Encoding.PEM
SIGNS_OTHERS = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def name_of(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, signer, *extensions):
    """Make a certificate with all that Python demands since 3.13 (RFC 5280)."""
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(name_of(issuer))
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    for extension in extensions:
        made = made.add_extension(extension, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    of_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return made.add_extension(of_signer, critical=False).sign(signer, hashes.SHA256())


class Authority:
    """Signs certificates for the loopback address; `context` is a client's that trusts it alone."""

    def __init__(self, folder):
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        root = certificate("authority", self._key, "authority", self._key, constraint, SIGNS_OTHERS)
        self.context = ssl.create_default_context(cadata=root.public_bytes(PEM).decode())

    def issue(self):
        """Write a new certificate and its key, and return the certificate as a client sees it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = certificate("server", key, "authority", self._key, names)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self._folder / "key.pem").write_bytes(private)
        (self._folder / "cert.pem").write_bytes(made.public_bytes(PEM))
        return made.public_bytes(serialization.Encoding.DER)


def test_tls_is_spoken_its_cookie_is_secure_and_a_reload_brings_the_next_certificate(process, tmp_path):
    authority = Authority(tmp_path)
    first = authority.issue()
    client = {"name": "all", "token": ADMIN, "allow": ["**"], "operations": EVERYTHING, "admin": True}
    tls = {"cert": "cert.pem", "key": "key.pem"}
    serve = {"listen": "127.0.0.1:0", "tls": tls, "ui": True, "clients": [client]}
    running = process({"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}, "serve": serve})
    address = running.line.removeprefix("listening at https://").strip()

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPSConnection(address, context=authority.context, timeout=300)
        connection.request(method, path, body=body, headers=headers)
        presented = connection.sock.getpeercert(binary_form=True)
        reply = Reply(connection.getresponse())
        connection.close()
        return presented, reply

    presented, reply = ask("GET", "/v1/auth/token/lookup-self", **{"X-Vault-Token": ADMIN})
    assert (presented, reply.status) == (first, 200)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _, reply = ask("POST", "/ui/login", body=f"token={ADMIN}", **form)
    assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(reply.headers["set-cookie"].split("; "))

    plain = http.client.HTTPConnection(address, timeout=300)
    plain.request("GET", "/healthz")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.getresponse()
    plain.close()

    second = authority.issue()
    running.reload()
    assert ask("GET", "/healthz")[0] == second

    key = (tmp_path / "key.pem").read_text()
    authority.issue()
    (tmp_path / "key.pem").write_text(key)  # a renewal that is under way: the key is still the one before
    running.reload()
    presented, reply = ask("GET", "/healthz")
    assert (presented, reply.status) == (second, 200)

    (tmp_path / "cert.pem").write_text("not a certificate")
    running.reload()
    presented, reply = ask("GET", "/healthz")
    assert (presented, reply.status) == (second, 200)
    code, _, log = running.end()
    assert code == 0
    assert log.count("not reloaded: serve.tls: ") == 2


def test_tls_that_begins_with_a_reload_needs_a_restart_and_says_so(process, tmp_path):
    Authority(tmp_path).issue()
    spec = spec_of(listen="127.0.0.1:0")
    running = process(spec)
    tls = {"cert": "cert.pem", "key": "key.pem"}
    write(tmp_path, {**spec, "serve": {**spec["serve"], "tls": tls}})
    running.reload()
    assert "for another serve.tls restart the server" in running.end()[2]


def ended(opened):
    """Wait until the server has ended a connection."""
    with contextlib.suppress(ConnectionError):
        while opened.recv(1000):
            pass
    return True


def test_who_does_not_finish_a_handshake_keeps_no_client_out(served, tmp_path, monkeypatch):
    """Before, such connections were not counted, and could take all descriptors for a minute."""
    authority = Authority(tmp_path)
    authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = served(tls=context)
    server.connections.most = 2
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:

        def client():
            made = http.client.HTTPSConnection(*address, context=authority.context, timeout=30)
            return stack.enter_context(contextlib.closing(made))

        def status_of(client):
            client.request("GET", "/v1/auth/token/lookup-self", headers={"X-Vault-Token": ADMIN})
            with client.getresponse() as reply:
                reply.read()
                return reply.status

        kept = client()
        assert status_of(kept) == 200
        strangers = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(3)]
        assert status_of(client()) == 200
        assert all(map(ended, strangers))
        assert status_of(kept) == 200
        server.connections.most = 9
        monkeypatch.setattr(handshakes, "_SECONDS", 0.01)
        assert ended(stack.enter_context(socket.create_connection(address, timeout=30)))


def test_nobody_waits_at_a_server_that_accepts_nothing_more():
    """While it answers its last requests, who comes is refused at once, as without TLS."""
    listener = bound_tcp("127.0.0.1", 0)

    async def close():
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        accepting = handshakes.Handshakes(listener.socket, tls, asyncio.Protocol, lambda: True)
        await asyncio.sleep(0)
        accepting.close()
        await asyncio.gather(accepting._accepting, return_exceptions=True)

    address = listener.socket.getsockname()
    asyncio.run(close())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=30)
