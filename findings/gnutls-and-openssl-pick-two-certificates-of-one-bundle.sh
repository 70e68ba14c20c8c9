#!/usr/bin/env bash
# OpenSSL 3.0 (Python and openssl of Debian 12), Node 20 and GnuTLS 3.7.9: of two root certificates with one name OpenSSL tries the first of a file alone,
# and GnuTLS the last.
# Seen: a CA has got a new key and kept its name, and its certificates have no key identifiers, as `cryptography` makes them unless it is asked for them. With
# a bundle of old and new root, as one lays it out for the change, OpenSSL and Node take what the first root has signed, and refuse what
# the second has signed ("certificate signature failure"); GnuTLS takes and refuses the opposite. In the other order it is the other way
# round: no order serves both. With key identifiers in all four certificates each takes everything. For who changes a CA: put subject and authority key
# identifier into all certificates, or give the new root another name. Guess: each root of the file is tried. Ends with 0 where that is still so.
# Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2
for package in {gnutls-bin,libgnutls-dane0,libgnutls30}=3.7.9-2+deb12u7 libunbound8; do apt-get download -q "$package" >/dev/null 2>&1; done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.js <<'END'
const tls = require("node:tls");
const [port, bundle] = process.argv.slice(2);
const ca = require("node:fs").readFileSync(bundle);
const socket = tls.connect({ host: "127.0.0.1", port, servername: "localhost", ca }, () => {
  console.log("in");
  socket.destroy();
});
socket.on("error", (error) => console.log(error.code));
END
cat >see.py <<'END'
import datetime
import glob
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

now = datetime.datetime.now(datetime.timezone.utc)
old_key, new_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
Path("key.pem").write_bytes(server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def certificate(subject, key, signer, identified):
    """One that the CA has signed, in PEM; the CA's own where it is its key."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, "Acme CA")]
    public, is_ca, day = key.public_key(), key is signer, datetime.timedelta(days=1)
    made = x509.CertificateBuilder(names[1], names[0], public, x509.random_serial_number(), now - day, now + 9 * day)
    made = made.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    if not is_ca:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    if identified:
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        of_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        made = made.add_extension(of_signer, critical=False)
    return made.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def serve(listener, context, times):
    for _ in range(times):
        try:
            context.wrap_socket(listener.accept()[0], server_side=True).close()
        except OSError:
            pass


def of_python(port):
    context = ssl.create_default_context(cafile="bundle.pem")
    try:
        context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost").close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    return "in"


def run(*words, **environment):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def answers(bundle, leaf):
    """What openssl, Python, Node and GnuTLS say of the leaf with that bundle."""
    Path("bundle.pem").write_text(bundle)
    Path("leaf.pem").write_text(leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("leaf.pem", "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, context, 2))
        thread.start()
        port = listener.getsockname()[1]
        python, node = of_python(port), run("node", "see.js", str(port), "bundle.pem").stdout.strip()
        thread.join()
    openssl = run("openssl", "verify", "-CAfile", "bundle.pem", "leaf.pem").returncode == 0
    libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
    words = ("root/usr/bin/certtool", "--verify", "--load-ca-certificate", "bundle.pem", "--infile", "leaf.pem")
    gnutls = run(*words, LD_LIBRARY_PATH=libraries).stdout.strip().rpartition("Verified. ")[2].rpartition("trusted. ")[2]
    return openssl, python, node, gnutls


yes = (True, "in", "in", "The certificate is trusted.")
REFUSED = (False, "certificate signature failure", "CERT_SIGNATURE_FAILURE")
first, last = (*yes[:3], "The signature in the certificate is invalid."), (*REFUSED, yes[3])
for identified in (False, True):
    old, new = (certificate("Acme CA", key, key, identified) for key in (old_key, new_key))
    for order, bundle in {"old, new": old + new, "new, old": new + old}.items():
        for signer, key in {"old": old_key, "new": new_key}.items():
            seen = answers(bundle, certificate("db", server_key, key, identified))
            print(f"identifiers: {identified} | bundle: {order} | signed by {signer}: {seen}")
            assert seen == (yes if identified else first if order.startswith(signer) else last)
END
venv/bin/python see.py
