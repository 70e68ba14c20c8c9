#!/usr/bin/env bash
# keyring 25.7.0 and @napi-rs/keyring 2.1.2 with gnome-keyring 42.1 (Debian 12): a password that Node stored cannot be changed from Python.
# Seen: Node stores a password, and keyring reads it by the same service and user. set_password of keyring then makes a second item instead of
# changing that one. Afterwards Node gives no password, but the error that two entries match; keyring gives the new password for some of
# 40 such services and the old one for the others. delete_password removes the one that keyring gives, so that where it gave the new
# one both give the old one again. The other way round, where keyring stored first, Node changes keyring's item, and both
# give the new password. Guess: what a library reads under a name it replaces when it writes under that name.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keyring==25.7.0 SecretStorage==3.5.0
npm install --silent --no-fund --no-audit @napi-rs/keyring@2.1.2
for package in gnome-keyring=42.1-1+b2 dbus-daemon=1.14.10-1~deb12u1 dbus-session-bus-common libapparmor1 libcap-ng0 libdbus-1-3 libexpat1 libffi8 \
    libgck-1-0 libgcr-base-3-1 libgcrypt20 libglib2.0-0 libp11-kit0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >node.mjs <<'END'
import { Entry } from "@napi-rs/keyring";

const [service, password] = process.argv.slice(2);
const entry = new Entry(service, "app");
if (password !== undefined) entry.setPassword(password);
else {
  try {
    console.log(entry.getPassword());
  } catch (error) {
    console.log(error.message.replace(/:.*/s, ""));
  }
}
END
cat >see.py <<'END'
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import keyring
from keyring.backends import SecretService


def node(*words):
    return subprocess.run(["node", "node.mjs", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def see(service):
    """The password that keyring gives, and that Node gives."""
    return keyring.get_password(service, "app"), node(service)


folders = ("HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
os.environ |= dict.fromkeys(folders, os.path.abspath(tempfile.mkdtemp(dir=".")))
libraries = os.pathsep.join({str(path.parent.resolve()) for path in Path("root").rglob("*.so.*")})
unpacked = {**os.environ, "LD_LIBRARY_PATH": libraries, "XDG_DATA_DIRS": os.path.abspath("root/usr/share")}


def start(*words, **more):
    """A daemon out of the packages that were unpacked."""
    program = f"root/usr/bin/{words[0]}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([program, *words[1:]], env=unpacked | more, text=True, **pipes)


running = []
try:
    running.append(start("dbus-daemon", "--config-file=root/usr/share/dbus-1/session.conf", "--nofork", "--print-address=1"))
    bus = os.environ["DBUS_SESSION_BUS_ADDRESS"] = running[0].stdout.readline().strip()
    words = "gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"
    running.append(start(*words, DBUS_SESSION_BUS_ADDRESS=bus))
    running[1].stdin.write("pw\n")
    running[1].stdin.close()
    running[1].stdout.readline()
    keyring.set_keyring(SecretService.Keyring())
    both = []
    for number in range(40):
        service = f"db{number}"
        node(service, "old")
        first = see(service)
        keyring.set_password(service, "app", "new")
        second = see(service)
        keyring.delete_password(service, "app")
        both.append((first, second, see(service)))
    keyring.set_password("queue", "app", "old")
    other = [see("queue")]
    node("queue", "new")
    other.append(see("queue"))
finally:
    for process in reversed(running):
        process.terminate()
        process.wait()
many = "Entry is matched by 2 credentials"
for answers, times in sorted(Counter(both).items()):
    print(f"Node stored it, then keyring, then keyring deleted it: {answers}, {times} times")
print("keyring stored it, then Node:", other)
assert {first for first, _, _ in both} == {("old", "old")}
assert {second for _, second, _ in both} == {("old", many), ("new", many)}
assert {third for _, _, third in both} <= {("old", "old"), ("new", "new")}
assert all(second[0] != third[0] for _, second, third in both)
assert other == [("old", "old"), ("new", "new")]
END
venv/bin/python see.py
