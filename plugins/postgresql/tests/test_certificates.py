"""A login over TLS that fails because of the server's certificate, and not because the server is down."""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
import struct
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from strongroom.encryption.keys import generate_key
from strongroom.errors import ConfigurationError
from strongroom_postgresql import PostgreSQLSecretProvider

KEY = generate_key()


def _certificate(folder):
    """A file with a key and its certificate, whose signature is Ed25519."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(start).not_valid_after(start.replace(year=2126)).sign(key, None)
    file = folder / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


def _message(code, text):
    """A message of the server about the login, as the protocol frames it."""
    return b"R" + struct.pack("!ii", 8 + len(text), code) + text


def _serve(listener, context):
    """Answer as a PostgreSQL with SCRAM does, up to the proof of the password."""
    plain, _ = listener.accept()
    plain.recv(8)  # the request for TLS
    plain.sendall(b"S")
    with context.wrap_socket(plain, server_side=True) as connection:
        connection.recv(4096)
        connection.sendall(_message(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
        nonce = re.search(rb"r=([^,]+)", connection.recv(4096))[1]
        connection.sendall(_message(11, b"r=" + nonce + b"more,s=c2FsdA==,i=4096"))
        connection.recv(4096)


def test_a_certificate_that_no_login_can_be_bound_to_is_no_outage(tmp_path):
    """An Ed25519 signature has no hash for libpq to bind the login to, so that the right password does not help."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context))
        thread.start()
        url = f"postgresql://app:hunter2@127.0.0.1:{listener.getsockname()[1]}/app?sslmode=require"
        with (
            PostgreSQLSecretProvider(url, encryption_key=KEY) as provider,
            pytest.raises(ConfigurationError, match="could not find digest") as caught,
        ):
            provider.get_secret("key")
        thread.join()
    assert "ECDSA or RSA" in caught.value.hint
    assert "channel_binding=disable" in caught.value.hint
    assert not caught.value.retryable


def test_channel_binding_without_tls_is_no_outage(url):
    with (
        PostgreSQLSecretProvider(f"{url}&channel_binding=require", encryption_key=KEY) as provider,
        pytest.raises(ConfigurationError, match="channel binding") as caught,
    ):
        provider.get_secret("key")
    assert "channel_binding" in caught.value.hint
