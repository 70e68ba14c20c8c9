#!/usr/bin/env bash
# PostgreSQL 15.20 (Debian 12) with psycopg 3.3.9, pg8000 1.31.6, asyncpg 0.32.0, and pg 8.23.1 and postgres 3.4.9 of npm: with a certificate signed by Ed25519
# libpq and pg8000 are refused, and others get in.
# Seen: TLS is on and passwords are SCRAM. With a certificate that a CA of P-256 signed, all five clients log in. The CA is replaced by one with an
# Ed25519 key; the server's own key stays P-256, and the reload has no complaint. Now psycopg (libpq) and pg8000 are refused with the right password, "could not
# find digest for NID UNDEF"; asyncpg, pg and postgres log in. The former bind the login to the certificate by the hash of its signature, and Ed25519
# names none. psycopg with `channel_binding=disable` logs in. For those who change a CA: keep ECDSA or RSA for what signs a database's certificate.
# Guess: a certificate that TLS takes is good for all clients, or for none.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check psycopg==3.3.9 psycopg-binary==3.3.9 pg8000==1.31.6 asyncpg==0.32.0 cryptography==50.0.2
npm install --silent --no-fund --no-audit pg@8.23.1 postgres@3.4.9
for package in postgresql-15=15.20-0+deb12u1 lib{icu72,xml2,ldap-2.5-0,sasl2-2,pam0g,lz4-1,zstd1}; do apt-get download -q "$package" >/dev/null 2>&1; done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import pg from "pg";
import postgres from "postgres";

const place = { host: "127.0.0.1", port: process.argv[2], user: "app", password: "word", database: "postgres" };
const ssl = { ca: readFileSync("ca.crt"), servername: "localhost" };
const says = (promise) => promise.then(() => "in", (error) => error.message);
const client = new pg.Client({ ...place, ssl });
const sql = postgres({ ...place, ssl, max: 1 });
console.log(JSON.stringify([await says(client.connect()), await says(sql`select 1`)]));
await client.end();
await sql.end();
END
cat >see.py <<'END'
import asyncio
import datetime
import glob
import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import asyncpg
import pg8000.native
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu") + glob.glob("root/lib/*-linux-gnu"))
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
who["env"] = os.environ | {"LD_LIBRARY_PATH": libraries}
programs, data = Path("root/usr/lib/postgresql/15/bin").resolve(), Path("data").resolve()
data.mkdir(mode=0o700)
if "user" in who:
    os.chown(data, 65534, 65534)
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
key, now, day = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1)


def install(ca, algorithm):
    """A certificate of the server's key, signed by that CA."""
    for file, name, public in ((Path("ca.crt"), "Acme CA", ca.public_key()), (data / "server.crt", "localhost", key.public_key())):
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in ("Acme CA", name)]
        made = x509.CertificateBuilder(*names, public, x509.random_serial_number(), now - day, now + day)
        made = made.add_extension(x509.BasicConstraints(name == "Acme CA", None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", ""))]), critical=False)
        file.write_bytes(made.sign(ca, algorithm).public_bytes(Encoding.PEM))


def says(connect):
    try:
        connect().close()
    except (psycopg.OperationalError, pg8000.native.DatabaseError) as error:
        return "no digest" if "could not find digest for NID UNDEF" in str(error) else str(error)
    return "in"


def see():
    """How psycopg, psycopg without channel binding, pg8000, asyncpg, and pg and postgres of npm fare."""
    place = {"host": "localhost", "port": port, "user": "app", "password": "word"}
    libpq = {**place, "dbname": "postgres", "sslmode": "verify-full", "sslrootcert": "ca.crt"}
    context = ssl.create_default_context(cafile="ca.crt")
    place["database"] = "postgres"

    async def of_asyncpg():
        await (await asyncpg.connect(**place, ssl=context)).close()
        return "in"

    done = subprocess.run(["node", "see.mjs", str(port)], capture_output=True, text=True, check=True, timeout=60)
    seen = [
        says(lambda: psycopg.connect(**libpq)), says(lambda: psycopg.connect(**libpq, channel_binding="disable")),
        says(lambda: pg8000.native.Connection(**place, ssl_context=context)), asyncio.run(of_asyncpg()), *json.loads(done.stdout),
    ]
    print(seen)
    return seen


words = ["-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
subprocess.run([programs / "initdb", *words], check=True, stdout=subprocess.DEVNULL, **who)
(data / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
(data / "server.key").chmod(0o640 if "user" in who else 0o600)  # of root, with the server's group
os.chown(data / "server.key", -1, who.get("group", -1))
install(ca=ec.generate_private_key(ec.SECP256R1()), algorithm=hashes.SHA256())
words = ["-D", data, "-p", str(port), "-h", "localhost", "-k", data, "-c", "ssl=on"]
server = subprocess.Popen([programs / "postgres", *words], stderr=subprocess.DEVNULL, **who)
try:
    for _ in range(100):
        try:
            admin = psycopg.connect(host=str(data), port=port, user="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    admin.execute("CREATE ROLE app LOGIN PASSWORD 'word'")
    before = see()
    install(ca=ed25519.Ed25519PrivateKey.generate(), algorithm=None)
    loaded = admin.execute("SELECT pg_conf_load_time()").fetchone()
    admin.execute("SELECT pg_reload_conf()")
    while admin.execute("SELECT pg_conf_load_time()").fetchone() == loaded:
        time.sleep(0.1)
    after = see()
    admin.close()
finally:
    server.send_signal(2)  # a fast shutdown
    server.wait()
assert before == ["in"] * 6
assert after == ["no digest", "in", "no digest", "in", "in", "in"]
END
venv/bin/python see.py
