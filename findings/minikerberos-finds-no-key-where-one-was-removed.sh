#!/usr/bin/env bash
# minikerberos 0.4.9 with ktutil of Heimdal 7.8 and MIT Kerberos 1.20.1 (Debian 12): a keytab from which an old key was removed is empty for minikerberos.
# Seen: a keytab has the keys 1 and 2 of a service, as after a change of its password. ktutil removes key 1, and leaves a hole in its place: zeros,
# with their length as a negative number, as the format provides. Heimdal and MIT then read key 2. `Keytab.from_file` of minikerberos reads nothing,
# without an error, and `to_file` writes a file without keys. If the hole is behind the keys, it reads them. For those who change such a password: let
# ktutil of MIT read and write the file (`rkt`, `wkt`) after a removal, which leaves no hole. Guess: the hole is skipped, or it is an error.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check minikerberos==0.4.9
heimdal=7.8.git20221117.28daf24+dfsg-2
for package in heimdal-clients lib{asn1-8,hcrypto5,heimbase1,hx509-5,kadm5clnt7,krb5-26,roken19,sl0,wind0}-heimdal; do
    apt-get download -q "$package=$heimdal" >/dev/null 2>&1
done
for package in krb5-user lib{krb5-3,k5crypto3,krb5support0,kadm5clnt-mit12,kdb5-10,gssrpc4,gssapi-krb5-2}; do
    apt-get download -q "$package=1.20.1-2+deb12u5" >/dev/null 2>&1
done
for package in libedit2 libsqlite3-0 libbsd0 libmd0 libkeyutils1; do apt-get download -q "$package" >/dev/null 2>&1; done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import shutil
import subprocess
from pathlib import Path

from minikerberos.common.keytab import Keytab

Path("krb5.conf").write_text("[libdefaults]\ndefault_realm = EXAMPLE.COM\n")
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu") + glob.glob("root/lib/*-linux-gnu"))
environment = os.environ | {"LD_LIBRARY_PATH": libraries, "KRB5_CONFIG": str(Path("krb5.conf").resolve())}
NAME = "HTTP/app.example.com@EXAMPLE.COM"


def run(program, *words, **more):
    """What it prints."""
    words = [f"root/usr/bin/{program}", *words]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment, timeout=60, **more).stdout


def add(file, number):
    run("ktutil.heimdal", "-k", file, "add", "-p", NAME, "-V", str(number), "-e", "aes256-cts-hmac-sha1-96", "-w", f"word {number}")


def numbers(file):
    """The numbers of the keys in it, as Heimdal, MIT and minikerberos see them."""
    heimdal = [int(line.split()[0]) for line in run("ktutil.heimdal", "-k", file, "list").splitlines() if NAME in line]
    mit = [int(line.split()[1]) for line in run("ktutil", input=f"rkt {file}\nlist\n").splitlines() if NAME in line]
    return heimdal, mit, [one.key_version for one in Keytab.from_file(file).entries]


for number in (1, 2):
    add("both", number)
for number in (1, 2):
    shutil.copy("both", f"without{number}")
    run("ktutil.heimdal", "-k", f"without{number}", "remove", "-p", NAME, "-V", str(number))
Keytab.from_file("without1").to_file("again")
run("ktutil", input="rkt without1\nwkt closed\n")
seen = {file: numbers(file) for file in ("both", "without1", "without2", "closed")} | {"again": Path("again").read_bytes().hex()}
print(seen)
assert seen["both"] == ([1, 2],) * 3
assert seen["without1"] == ([2], [2], [])
assert seen["without2"] == ([1],) * 3
assert seen["closed"] == ([2],) * 3
assert seen["again"] == "0502"
END
venv/bin/python see.py
