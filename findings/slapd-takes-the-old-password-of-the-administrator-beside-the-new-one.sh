#!/usr/bin/env bash
# slapd 2.5.13 (OpenLDAP, Debian 12) with ldap3 2.9.1: after its password was changed with success, the administrator logs in with the old one too.
# Seen: the configuration has rootdn and rootpw, and the directory has an entry of that name with the same password. The password-modify operation (as ldappasswd sends it) is
# "success", and the entry has the new password alone; both log in, the old one with all rights. A second change leaves the first password as it is and ends the second. A
# plain modify of userPassword is the same, and to delete the entry leaves the old password as the only one. Without an entry of that name the operation is refused with
# "unwillingToPerform". For another entry the old password ends. To do: change rootpw in the configuration, or remove it and keep the entry alone, and try the old password.
# Guess: what was changed with success is the password that counts. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check ldap3==2.9.1
for package in slapd=2.5.13+dfsg-5 libldap-2.5-0=2.5.13+dfsg-5 libltdl7 libodbc2 libperl5.36 libsasl2-2 libwrap0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import socket
import subprocess
import time
from pathlib import Path

import ldap3

folder = Path.cwd()
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
BASE = "dc=example,dc=com"
ADMIN, APP = f"cn=admin,{BASE}", f"cn=app,{BASE}"
CLASSES = ["organizationalRole", "simpleSecurityObject"]


def start(name, rootpw):
    (folder / name).mkdir()
    Path(f"{name}.conf").write_text(f"""
include {folder}/root/etc/ldap/schema/core.schema
include {folder}/root/etc/ldap/schema/cosine.schema
modulepath {folder}/root/usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 10485760
directory {folder}/{name}
suffix {BASE}
rootdn {ADMIN}
{rootpw}
access to attrs=userPassword by self write by anonymous auth
access to * by users read
""")
    words = ["root/usr/sbin/slapd", "-f", f"{name}.conf", "-h", f"ldap:{'//'}127.0.0.1:{port}", "-d", "0"]
    started = subprocess.Popen(words, env=os.environ | {"LD_LIBRARY_PATH": libraries}, stderr=subprocess.DEVNULL)
    for _ in range(300):
        assert started.poll() is None
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return started
        time.sleep(0.1)
    raise SystemExit("slapd did not start")


def bound(name, password):
    connection = ldap3.Connection(ldap3.Server("127.0.0.1", port=port), name, password)
    return connection if connection.bind() else None


def logins(name):
    return [password for password in ("first", "second", "third", "other") if bound(name, password)]


def change(name, old, new):
    """The result of the password-modify operation, asked for by the one whose password it is."""
    connection = bound(name, old)
    connection.extend.standard.modify_password(name, old, new)
    return connection.result["description"]


server = start("data", "rootpw first")
try:
    admin = bound(ADMIN, "first")
    assert admin.add(BASE, ["dcObject", "organization"], {"o": "example"})
    without = change(ADMIN, "first", "second"), logins(ADMIN)
    for name in ADMIN, APP:
        assert admin.add(name, CLASSES, {"userPassword": "first"})
    seen = [("added", logins(ADMIN))]
    seen.append((change(ADMIN, "first", "second"), logins(ADMIN)))
    seen.append((change(ADMIN, "second", "third"), logins(ADMIN)))
    assert bound(ADMIN, "first").modify(ADMIN, {"userPassword": [(ldap3.MODIFY_REPLACE, ["other"])]})
    seen.append(("modify", logins(ADMIN)))
    rights = [bound(ADMIN, password).add(f"cn={password},{BASE}", ["organizationalRole"]) for password in ("first", "other")]
    of_app = change(APP, "first", "second"), logins(APP)
    assert bound(ADMIN, "first").delete(ADMIN)
    seen.append(("deleted", logins(ADMIN)))
finally:
    server.terminate()
    server.wait()
print("without an entry:", without, "| with one:", seen, "| may add entries:", rights, "| another entry:", of_app)
assert without == ("unwillingToPerform", ["first"]) and rights == [True, True] and of_app == ("success", ["second"])
assert seen == [
    ("added", ["first"]), ("success", ["first", "second"]), ("success", ["first", "third"]), ("modify", ["first", "other"]), ("deleted", ["first"]),
]
END
venv/bin/python see.py
