#!/usr/bin/env bash
# keyring 25.7.0, keyrings.alt 5.0.2, keyrings.cryptfile 1.3.9: what the chainer, the default where two backends can be used, deletes.
# Seen: a password stored while only the second backend was there, then set again and deleted through the chainer, is given again: the
# old one. A second deletion fails, though the password can still be read. Guess: what is deleted is not there.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work XDG_DATA_HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keyring==25.7.0 keyrings.alt==5.0.2 keyrings.cryptfile==1.3.9
cat >see.py <<'END'
import keyring
from keyring import core, errors
from keyring.backends.chainer import ChainerBackend
from keyrings.alt.file import PlaintextKeyring
from keyrings.cryptfile.cryptfile import CryptFileKeyring

core.init_backend(limit=lambda backend: isinstance(backend, ChainerBackend | PlaintextKeyring | CryptFileKeyring))
print("used:", keyring.get_keyring(), [type(backend).__name__ for backend in ChainerBackend.backends])
assert isinstance(keyring.get_keyring(), ChainerBackend)
first, second = ChainerBackend.backends
first.keyring_key = "master"
second.set_password("service", "app", "old")
keyring.set_password("service", "app", "new")
assert keyring.get_password("service", "app") == "new"
keyring.delete_password("service", "app")
print("after the deletion:", keyring.get_password("service", "app"))
assert keyring.get_password("service", "app") == "old"
try:
    keyring.delete_password("service", "app")
    said = "no error"
except errors.PasswordDeleteError as error:
    said = f"PasswordDeleteError: {error}"
print("the second deletion:", said)
assert said.startswith("PasswordDeleteError")
assert keyring.get_password("service", "app") == "old"
END
venv/bin/python see.py
