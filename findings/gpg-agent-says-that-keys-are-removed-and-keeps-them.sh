#!/usr/bin/env bash
# gpg-agent 2.2.40 as the SSH agent with OpenSSH 9.2p1 (Debian 12) and asyncssh 2.24.1: `ssh-add -d` and `ssh-add -D` say "removed", and the key still logs in.
# Seen: `ssh-add key` gives a private key to gpg-agent, which has `enable-ssh-support`, and the key's file is deleted. `ssh-add -d` ends with 0 and says
# "Identity removed", `ssh-add -D` ends with 0 and says "All identities removed.", and after both, the agent lists the key and logs in with it. So it does
# after the agent was stopped and started: it has written the key into its home folder, under a passphrase that it asked for. ssh-agent of OpenSSH removes the
# key at the same two commands. To do: `DELETE_KEY --force` with the keygrip that `KEYINFO --ssh-list` of gpg-connect-agent names; then it is gone.
# Guess: the commands fail, or what they say is so. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.1
for package in gpg-agent=2.2.40-1.1+deb12u2 gpgconf=2.2.40-1.1+deb12u2 openssh-client=1:9.2p1-2+deb12u10 libassuan0 libnpth0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >ask <<'END'
#!/bin/sh
# a pinentry that always answers with one passphrase
echo OK
while read -r line; do
    case $line in
    GETPIN*) printf 'D hush\nOK\n' ;;
    BYE*) echo OK && exit ;;
    *) echo OK ;;
    esac
done
END
chmod 755 ask
cat >see.py <<'END'
import asyncio
import glob
import os
import re
import subprocess
import time
from pathlib import Path

import asyncssh

folder = Path.cwd()
(folder / "home").mkdir(mode=0o700)
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
base = os.environ | {"LD_LIBRARY_PATH": libraries, "GNUPGHOME": str(folder / "home")}


def run(program, *words, socket):
    words = [f"root/usr/bin/{program}", *words]
    done = subprocess.run(words, capture_output=True, text=True, env=base | {"SSH_AUTH_SOCK": socket}, timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip()


def start(socket, program, *words):
    """ssh-agent stays in the foreground; gpg-agent goes into the background, and ends when it is asked at its socket."""
    agent = subprocess.Popen([f"root/usr/bin/{program}", *words], env=base, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        if Path(socket).exists():
            return agent
        time.sleep(0.05)
    raise SystemExit(f"{program} did not start")


def stop(agent, socket):
    if "home" in socket:
        run("gpg-connect-agent", "--no-autostart", "KILLAGENT", "/bye", socket=socket)
    else:
        agent.terminate()
    agent.wait()
    while Path(socket).exists() and "home" in socket:
        time.sleep(0.05)
    Path(socket).unlink(missing_ok=True)


async def logs_in(socket):
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys="key.pub")
    place = {"host": "127.0.0.1", "port": server.get_port(), "known_hosts": None, "config": None}
    try:
        async with asyncssh.connect(**place, username="app", agent_path=socket, client_keys=[]):
            return True
    except asyncssh.PermissionDenied:
        return False
    finally:
        server.close()


def state(socket):
    listed = "ED25519" in run("ssh-add", "-l", socket=socket)[1]
    return listed, asyncio.run(logs_in(socket))


def see(socket, start_agent):
    key = asyncssh.generate_private_key("ssh-ed25519", comment="app")
    key.write_private_key("key")
    key.write_public_key("key.pub")
    Path("key").chmod(0o600)
    agent = start_agent()
    try:
        assert run("ssh-add", "key", socket=socket)[0] == 0
        Path("key").unlink()
        seen = [state(socket)]
        for word in ("-d", "key"), ("-D",):
            seen.append((*run("ssh-add", *word, socket=socket), *state(socket)))
        stop(agent, socket)
        agent = start_agent()
        seen.append(state(socket))
        if "home" in socket:
            grips = re.findall("KEYINFO ([0-9A-F]{40})", run("gpg-connect-agent", "KEYINFO --ssh-list", "/bye", socket=socket)[1])
            assert run("gpg-connect-agent", *(f"DELETE_KEY --force {grip}" for grip in grips), "/bye", socket=socket)[0] == 0
            seen.append(state(socket))
    finally:
        stop(agent, socket)
    return seen


(folder / "home/gpg-agent.conf").write_text(f"enable-ssh-support\npinentry-program {folder}/ask\n")
gpg, ssh = str(folder / "home/S.gpg-agent.ssh"), str(folder / "agent")
of_gpg = see(gpg, lambda: start(gpg, "gpg-agent", "--daemon"))
of_ssh = see(ssh, lambda: start(ssh, "ssh-agent", "-D", "-a", ssh))
print("gpg-agent:", of_gpg)
print("ssh-agent:", of_ssh)
one, all_of_them = (0, "Identity removed: key ED25519 (app)"), (0, "All identities removed.")
assert of_gpg == [(True, True), (*one, True, True), (*all_of_them, True, True), (True, True), (False, False)]
assert of_ssh == [(True, True), (*one, False, False), (*all_of_them, False, False), (False, False)]
END
venv/bin/python see.py
