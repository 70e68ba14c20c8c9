#!/usr/bin/env bash
# paramiko 5.1.0 with asyncssh 2.24.1 and OpenSSH 9.2p1 (Debian 12): of two host keys of one kind in known_hosts, paramiko sees the first alone.
# Seen: a server's Ed25519 key is to be replaced, and known_hosts has the old key and the new one, so that clients get in before and after. OpenSSH
# and asyncssh do. With the old key in front, paramiko refuses the server that has the new key, with the BadHostKeyException that a stranger's key gets; with
# the new key in front it refuses the server that still has the old one. So no order serves the days of the change, and a new key that is
# appended to the file has no effect. For those who change such keys: give the new key another kind (ECDSA), since paramiko looks up each kind by itself,
# and OpenSSH and asyncssh take it too. Guess: each line of the host counts.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paramiko==5.1.0 asyncssh==2.24.1
apt-get download -q openssh-client=1:9.2p1-2+deb12u10 >/dev/null 2>&1
for package in libedit2 libbsd0 libmd0; do apt-get download -q "$package" >/dev/null 2>&1; done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import asyncio
import glob
import os
import subprocess
from pathlib import Path

import asyncssh
import paramiko

KNOWN = "known_hosts"
libraries = {"LD_LIBRARY_PATH": ":".join(glob.glob(f"{os.getcwd()}/root/usr/lib/*-linux-gnu"))}


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return password == "word"


def of_paramiko(port):
    client = paramiko.SSHClient()
    client.load_host_keys(KNOWN)
    try:
        client.connect("127.0.0.1", port, "app", "word", look_for_keys=False, allow_agent=False)
    except paramiko.BadHostKeyException:
        return "bad host key"
    finally:
        client.close()
    return "in"


async def of_asyncssh(port):
    try:
        async with asyncssh.connect("127.0.0.1", port, username="app", password="word", known_hosts=KNOWN, config=None, client_keys=None):
            return "in"
    except asyncssh.HostKeyNotVerifiable:
        return "bad host key"


def of_openssh(port):
    """It has no password to give: the server is known if it gets so far as to be refused for that."""
    options = [f"-oUserKnownHostsFile={KNOWN}", "-oGlobalKnownHostsFile=none", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes"]
    words = ["root/usr/bin/ssh", "-F", "none", "-p", str(port), *options, "app@127.0.0.1"]
    said = subprocess.run(words, capture_output=True, text=True, env=os.environ | libraries, stdin=subprocess.DEVNULL, timeout=60).stderr
    return "in" if "Permission denied" in said else "bad host key" if "Host key verification failed" in said else said


async def see(key, *known):
    """What OpenSSH, asyncssh and paramiko do at a server with that key, where these are known."""
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[keys[key]], server_factory=Server)
    port = server.get_port()
    lines = [f"[127.0.0.1]:{port} {' '.join(keys[name].export_public_key().decode().split()[:2])}" for name in known]
    Path(KNOWN).write_text("\n".join(lines) + "\n")
    seen = await asyncio.to_thread(of_openssh, port), await of_asyncssh(port), await asyncio.to_thread(of_paramiko, port)
    server.close()
    print(f"server: {key}, known: {known}: {seen}")
    return seen


async def main():
    everywhere, nowhere = ("in",) * 3, ("bad host key",) * 3
    assert await see("new", "new") == await see("ecdsa", "old", "ecdsa") == everywhere
    assert await see("new", "old") == nowhere
    assert await see("new", "old", "new") == await see("old", "new", "old") == ("in", "in", "bad host key")
    assert await see("new", "new", "old") == await see("old", "old", "new") == everywhere


kinds = {"old": "ssh-ed25519", "new": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256"}
keys = {name: asyncssh.generate_private_key(kind) for name, kind in kinds.items()}
asyncio.run(main())
END
venv/bin/python see.py
