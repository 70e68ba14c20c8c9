#!/usr/bin/env bash
# OpenSSH 9.2p1 (Debian 12) with asyncssh 2.24.1: after a certificate was renewed, `ssh-add -d` says that the key is removed, and the agent still logs in with it.
# Seen: a key gets a certificate of an SSH CA, `ssh-add id` adds both to the agent; the certificate is renewed, and `ssh-add id` is called again. The
# agent now has the key, the old certificate and the new one, each with the private key, and a renewal adds one more each time. `ssh-add -d id` ends with 0 and
# says "Identity removed" of the key and of its certificate: it looks for the one that is in the file now. The old one stays, and the agent still
# logs in by it until it expires. `ssh-add -D` removes it. For those who use short certificates: call `ssh-add -d id` before the new certificate is
# written, or give `ssh-add -t` the life of the certificate. Guess: `-d` removes the key, with what belongs to it.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.1
apt-get download -q openssh-client=1:9.2p1-2+deb12u10 >/dev/null 2>&1
dpkg -x openssh-client*.deb root
cat >see.py <<'END'
import asyncio
import os
import subprocess
import time
from pathlib import Path

import asyncssh

environment = os.environ | {"SSH_AUTH_SOCK": f"{os.getcwd()}/agent"}


def run(program, *words):
    done = subprocess.run([f"root/usr/bin/{program}", *words], capture_output=True, text=True, env=environment, timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


def renew(serial):
    assert run("ssh-keygen", "-q", "-s", "ca", "-I", "app", "-n", "app", "-V", "+1h", "-z", str(serial), "id.pub")[0] == 0
    assert run("ssh-add", "-q", "id")[0] == 0


def held():
    """What the agent has: the serial numbers of the certificates, and "key" for a key without one."""
    lines = run("ssh-add", "-L")[1]
    return [asyncssh.import_certificate(line)._serial if "-cert-" in line else "key" for line in lines if line.startswith("ssh-")]


async def login():
    """Whether a server that trusts the CA lets in who has the agent and no file."""
    Path("authorized").write_text("cert-authority " + Path("ca.pub").read_text())
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys="authorized")
    place = {"host": "127.0.0.1", "port": server.get_port(), "known_hosts": None, "config": None}
    try:
        async with asyncssh.connect(**place, username="app", agent_path=environment["SSH_AUTH_SOCK"], client_keys=[]):
            return "in"
    except asyncssh.PermissionDenied:
        return "refused"
    finally:
        server.close()


for name in ("ca", "id"):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
agent = subprocess.Popen(["root/usr/bin/ssh-agent", "-D", "-a", "agent"], env=environment, stdout=subprocess.DEVNULL)
try:
    while not Path("agent").exists():
        time.sleep(0.05)
    renew(1)
    renew(2)
    before = held(), asyncio.run(login())
    removed = run("ssh-add", "-d", "id")
    after = held(), asyncio.run(login())
    emptied = run("ssh-add", "-D")[0], held(), asyncio.run(login())
finally:
    agent.terminate()
    agent.wait()
print("before:", before, "| -d:", removed, "| after:", after, "| after -D:", emptied)
assert before == (["key", 1, 2], "in")
assert removed == (0, ["Identity removed: id ED25519 (id)", "Identity removed: id-cert.pub ED25519-CERT (id)"])
assert after == ([1], "in")
assert emptied == (0, [], "refused")
END
venv/bin/python see.py
