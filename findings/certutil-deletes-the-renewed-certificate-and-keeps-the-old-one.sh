#!/usr/bin/env bash
# NSS 3.87 (certutil and pk12util of Debian 12) with cryptography 50.0.2: of two certificates of one name, `certutil -D` deletes the newer one, with exit code 0.
# Seen: a server's certificate is renewed with a new key, and `pk12util -i` imports it beside the old one. Both have the nickname of the old one, also where the
# new file has another friendly name, because the subject is the same. `certutil -D -n NICKNAME`, to remove what was replaced, removes the one that ends later, without a
# word; the store then has the old one alone. `certutil -F`, which takes the key as well, takes the newer pair. A nickname is the only way to name a
# certificate to both. To do: `certutil -D` before the import, and then list the serial number with `certutil -L -n NICKNAME`.
# Guess: an error where a name is ambiguous, or the older one. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2
for package in libnss3-tools=2:3.87.1-1+deb12u4 libnss3=2:3.87.1-1+deb12u4 libnspr4 libsqlite3-0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import datetime
import glob
import os
import re
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.example.com")])


def write(serial, friendly_name, begins, ends):
    """A PKCS#12 file with a new key, and the certificate that is good from and to these days, counted from today."""
    today = datetime.datetime.now(datetime.timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(today + datetime.timedelta(days=begins))
        .not_valid_after(today + datetime.timedelta(days=ends))
        .sign(key, hashes.SHA256())
    )
    hidden = serialization.BestAvailableEncryption(b"hush")
    Path(f"{serial}.p12").write_bytes(pkcs12.serialize_key_and_certificates(friendly_name.encode(), key, certificate, None, hidden))


def run(program, *words):
    words = [f"root/usr/bin/{program}", "-d", "sql:store", *words]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"LD_LIBRARY_PATH": libraries}, timeout=60)
    return done.returncode, done.stdout + done.stderr


def put(serial):
    assert run("pk12util", "-i", f"{serial}.p12", "-W", "hush", "-K", "")[0] == 0


def held():
    """The serial numbers under the nickname, how many certificates the store has, and how many keys."""
    serials = re.findall(r"Serial Number: (\d+)", run("certutil", "-L", "-n", "web")[1])
    certificates = [line for line in run("certutil", "-L")[1].splitlines() if line.endswith("u,u,u")]
    keys = re.findall(r"< ?\d+>", run("certutil", "-K", "-f", "password")[1])
    return sorted(serials), len(certificates), len(keys)


def take(word):
    code, said = run("certutil", word, "-n", "web", "-f", "password")
    return code, said.strip(), *held()


def renewed(imported):
    """A new store with these imported."""
    for file in Path("store").glob("*"):
        file.unlink()
    assert run("certutil", "-N", "-f", "password")[0] == 0
    for serial in imported:
        put(serial)


Path("store").mkdir()
Path("password").write_text("\n")
write(1, "web", -80, 10)
write(2, "web", -1, 90)
write(3, "web 2027", -1, 90)
seen = {}
for new in 2, 3:
    renewed([1, new])
    seen[f"1 and {new}"] = held()
    seen[f"1 and {new}, -D"] = take("-D")
    seen[f"1 and {new}, -D twice"] = take("-D")
renewed([2, 1])
seen["2 and 1, -D"] = take("-D")
renewed([1, 2])
seen["1 and 2, -F"] = take("-F")
renewed([1])
before = take("-D")
put(2)
seen["1, -D, 2"] = held()
for name, found in seen.items():
    print(f"{name}: {found}")
assert before == (0, "", [], 0, 1)
for new in "2", "3":
    assert seen[f"1 and {new}"] == (["1", new], 2, 2)
    assert seen[f"1 and {new}, -D"] == (0, "", ["1"], 1, 2)
    assert seen[f"1 and {new}, -D twice"] == (0, "", [], 0, 2)
assert seen["2 and 1, -D"] == (0, "", ["1"], 1, 2)
assert seen["1 and 2, -F"] == (0, "", ["1"], 1, 1)
assert seen["1, -D, 2"] == (["2"], 1, 2)
END
venv/bin/python see.py
