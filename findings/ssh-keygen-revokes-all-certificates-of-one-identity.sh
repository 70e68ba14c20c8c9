#!/usr/bin/env bash
# OpenSSH 9.2p1 (Debian 12) with asyncssh 2.24.1: to revoke one certificate that has no serial number revokes all that were signed with the same `-I`, later ones too.
# Seen: a CA signs certificates for three machines with `ssh-keygen -s ca -I deploy`, without `-z`, and one machine is lost. `ssh-keygen -k -f krl` with the certificate of
# that machine ends with 0; then `ssh-keygen -Q` calls the certificates of all three machines revoked, and one with that identity that is signed afterwards with a new key.
# The lost key is not in the list at all: signed under another identity, it is good. The list names the identity, since the serial number of all of them is 0. With a serial number of its own
# (`-z`) in each certificate, one is revoked. asyncssh signs with serial 0 too unless it is told a number. To do: sign with `-z` and a number that is not used
# twice, and put the public key of a lost machine into the list as well. Guess: what is revoked is the certificate that was named.
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
import subprocess
from pathlib import Path

import asyncssh


def run(*words):
    done = subprocess.run(["root/usr/bin/ssh-keygen", *words], capture_output=True, text=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def key(name):
    made = asyncssh.generate_private_key("ssh-ed25519", comment=name)
    made.write_private_key(name)
    made.write_public_key(f"{name}.pub")
    Path(name).chmod(0o600)
    return made


def sign(name, identity, *more):
    """A certificate for the public key, in a file of its own."""
    assert run("-q", "-s", "ca", "-I", identity, "-n", "app", "-V", "+1h", *more, f"{name}.pub")[0] == 0
    target = Path(f"{name}-{identity}{''.join(more)}")
    Path(f"{name}-cert.pub").rename(target)
    return str(target)


def revoke(target, *what):
    assert run("-k", "-f", target, *what)[0] == 0
    return [line for line in run("-Q", "-l", "-f", target)[1] if line.startswith(("id:", "serial:", "hash:"))]


def revoked(target, *files):
    """Which of the files the list says are revoked; the exit code says whether any is."""
    return [run("-Q", "-f", target, one)[1][0].endswith("REVOKED") for one in files]


ca = key("ca")
keys = {name: key(name) for name in ("lost", "second", "third", "new")}
plain = [sign(name, "deploy") for name in ("lost", "second", "third")]
told = revoke("krl", plain[0])
later, other = sign("new", "deploy"), sign("lost", "rollout")
of_asyncssh = ca.generate_user_certificate(keys["third"], "deploy", principals=["app"])
of_asyncssh.write_certificate("third-asyncssh")
seen = {
    "revoked, and two others": revoked("krl", *plain),
    "signed afterwards, and by asyncssh": revoked("krl", later, "third-asyncssh"),
    "the lost key, and its certificate of another identity": revoked("krl", "lost.pub", other),
}
numbered = [sign(name, "deploy", "-z", str(number)) for number, name in enumerate(("lost", "second", "third"), 1)]
told_number = revoke("krl-numbered", numbered[0])
seen["with serial numbers"] = revoked("krl-numbered", *numbered)
revoke("krl-key", numbered[0], "lost.pub")
seen["with the key as well"] = revoked("krl-key", numbered[0], "lost.pub", other, *numbered[1:])
print("in the list:", told, "with numbers:", told_number)
for name, found in seen.items():
    print(f"{name}: {found}")
assert [line.split() for line in told] == [["id:", "deploy"]] and [line.split() for line in told_number] == [["serial:", "1"]]
assert list(seen.values()) == [[True] * 3, [True, True], [False, False], [True, False, False], [True, True, True, False, False]]
END
venv/bin/python see.py
