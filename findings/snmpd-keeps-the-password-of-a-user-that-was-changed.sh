#!/usr/bin/env bash
# Net-SNMP 5.9.3 (Debian 12) with pysnmp 7.1.30: the password of an SNMPv3 user that is changed in snmpd.conf is not taken, by a reload or by a restart.
# Seen: snmpd.conf has `createUser app …` and `rouser app priv`. At its end snmpd writes the keys of the user, made from the password, into its file in /var/lib/snmp. With
# another password in the line, after SIGHUP and after a restart, the old password answers and the new one gets "Wrong SNMP PDU digest"; snmpd has no word about the line
# in its log. That is so for a user who is in the file already; a line for another name is taken. The manual wants the line in the file in /var/lib/snmp, where snmpd replaces it by the
# keys; a new line at the end of that file is taken at the next start, and one before the keys is not. To do: stop snmpd, put the line at the end there, start it, and try the old password.
# Guess: what is written in snmpd.conf counts after a restart, or the log says why not. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pysnmp==7.1.30 cryptography==50.0.2
for package in snmpd=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libpci3 libperl5.36 libsensors5 libwrap0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import asyncio
import glob
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from pysnmp.hlapi.v3arch.asyncio import (
    USM_AUTH_HMAC192_SHA256, USM_PRIV_CFB128_AES, ContextData, ObjectIdentity, ObjectType, SnmpEngine, UdpTransportTarget, UsmUserData, get_cmd,
)

folder = Path.cwd()
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
with socket.socket(type=socket.SOCK_DGRAM) as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
for name in "etc", "var":
    (folder / name).mkdir()
settings, kept, log = folder / "etc/snmpd.conf", folder / "var/snmpd.conf", folder / "log"
environment = os.environ | {
    "LD_LIBRARY_PATH": libraries, "SNMPCONFPATH": f"{folder}/etc:{folder}/var", "SNMP_PERSISTENT_DIR": f"{folder}/var", "MIBS": "",
}


async def ask(user, password):
    secrets = UsmUserData(user, password, password, authProtocol=USM_AUTH_HMAC192_SHA256, privProtocol=USM_PRIV_CFB128_AES)
    target = await UdpTransportTarget.create(("127.0.0.1", port), timeout=2, retries=1)
    wanted = ObjectType(ObjectIdentity("1.3.6.1.2.1.1.3.0"))
    error, _, _, answers = await get_cmd(SnmpEngine(), secrets, target, ContextData(), wanted)
    return str(error or "in")


def answers(*passwords, user="app"):
    return [asyncio.run(ask(user, password)) for password in passwords]


def wait_for(count):
    """Until the log has so many lines that say that the server is ready."""
    for _ in range(200):
        if log.exists() and log.read_text().count("NET-SNMP version") == count:
            return
        time.sleep(0.05)
    raise SystemExit("snmpd is not ready")


def start():
    log.unlink(missing_ok=True)
    server = subprocess.Popen(["root/usr/sbin/snmpd", "-f", "-r", "-Lf", log, f"udp:127.0.0.1:{port}"], env=environment)
    wait_for(1)
    return server


def stop(server):
    server.terminate()
    server.wait()


def line(password, user="app"):
    return f'createUser {user} SHA-256 "{password}" AES "{password}"\n'


def words_kept():
    return [one.split()[0] for one in kept.read_text().splitlines() if one.startswith(("createUser", "usmUser"))]


rights = "rouser app priv\nrouser other priv\n"
settings.write_text(rights + line("the first one"))
server = start()
try:
    first = answers("the first one")
    stop(server)
    keys = words_kept()
    settings.write_text(rights + line("the second one") + line("the first one", "other"))
    server = start()
    restarted = answers("the first one", "the second one")
    other = answers("the first one", user="other")
    server.send_signal(signal.SIGHUP)
    wait_for(2)
    reloaded = answers("the first one", "the second one")
    named = any(word in log.read_text() for word in ("createUser", "usmUser"))
    stop(server)
    settings.write_text(rights)
    text = kept.read_text()
    kept.write_text(line("the second one") + text)
    server = start()
    before_keys = answers("the first one", "the second one")
    stop(server)
    kept.write_text(kept.read_text() + line("the second one"))
    server = start()
    after_keys = answers("the first one", "the second one")
finally:
    stop(server)
print("first:", first, keys, "| changed in snmpd.conf, restarted:", restarted, "reloaded:", reloaded, "in the log:", named, "| another user:", other)
print("line before the keys:", before_keys, "| at the end:", after_keys, words_kept())
old, new = ["in", "Wrong SNMP PDU digest"], ["Wrong SNMP PDU digest", "in"]
assert first == other == ["in"] and keys == ["usmUser"]
assert restarted == reloaded == before_keys == old and not named
assert after_keys == new and words_kept() == ["usmUser"] * 2
END
venv/bin/python see.py
