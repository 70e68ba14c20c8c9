#!/usr/bin/env bash
# minikerberos 0.4.9 with MIT Kerberos 1.20.1 (Debian 12): of a key's version in a keytab minikerberos has the lowest byte alone, and writes that.
# Seen: a keytab of MIT has the keys 255 and 300 of a service, as after its password was changed each day for most of a year. For a version above 255 the
# format has a second number behind the key. minikerberos reads 255 and 44, and drops the second number: of a keytab that it has read and written
# with no change, `klist` of MIT shows 44 too. The keys themselves are the same. Up to 255 nothing is lost.
# Guess: what is read and written again is the same. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check minikerberos==0.4.9
for package in krb5-user lib{krb5-3,k5crypto3,krb5support0,kadm5clnt-mit12,kadm5srv-mit12,kdb5-10,gssrpc4,gssapi-krb5-2}; do
    apt-get download -q "$package=1.20.1-2+deb12u5" >/dev/null 2>&1
done
apt-get download -q libkeyutils1 >/dev/null 2>&1
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import subprocess
from pathlib import Path

from minikerberos.common.keytab import Keytab

Path("krb5.conf").write_text("[libdefaults]\ndefault_realm = EXAMPLE.ORG\n")
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
places = os.environ | {"LD_LIBRARY_PATH": libraries, "KRB5_CONFIG": str(Path("krb5.conf").resolve())}


def tool(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, env=places, check=True, timeout=60, **more).stdout


def versions(name):
    """Return the versions that MIT sees, with the key of each."""
    lines = [line.split() for line in tool("root/usr/bin/klist", "-k", "-K", name).splitlines()]
    return {int(words[0]): words[-1] for words in lines if words and words[0].isdigit()}


for version, password in ((255, "hush"), (300, "hush hush")):
    entry = f"addent -password -p app@EXAMPLE.ORG -k {version} -e aes256-cts-hmac-sha1-96\n{password}\nwkt app.keytab\n"
    tool("root/usr/bin/ktutil", input=entry)
before = versions("app.keytab")
keytab = Keytab.from_bytes(Path("app.keytab").read_bytes())
read = [one.key_version for one in keytab.entries]
Path("written.keytab").write_bytes(keytab.to_bytes())
after = versions("written.keytab")
same = list(before.values()) == list(after.values()) and len(set(before.values())) == 2
print("MIT, as it was made:", list(before))
print("minikerberos:", read)
print("MIT, after minikerberos wrote it:", list(after), "with the same keys" if same else "with other keys")
assert list(before) == [255, 300]
assert read == list(after) == [255, 44]
assert same
END
venv/bin/python see.py
