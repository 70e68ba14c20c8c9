#!/usr/bin/env bash
# python-pkcs11 0.10.1 and PyKCS11 1.5.20 with SoftHSM 2.6.1 (Debian 12): closing one session takes the keys away from all others of the process.
# Seen: a session with the PIN is open, and a second one without it, for another thread, since a second login is refused. Both find the key and decrypt.
# When the first is closed, as at the end of a "with", the second gets NoSuchKey for the key that it found before, and ObjectHandleInvalid for
# the key that it holds: not a word of a login. The secret seems to be gone from the token; it is there again after the next login. With PyKCS11, which
# logs out when logout() is called and not in closeSession(), the second session goes on. python-pkcs11 logs out in close(), and PKCS #11 knows one
# login for a whole process. Guess: closing a session ends that session. Hold the session with the PIN open until the last thread is done.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check python-pkcs11==0.10.1 PyKCS11==1.5.20
for package in {softhsm2,libsofthsm2}=2.6.1-2.1; do apt-get download -q "$package" >/dev/null 2>&1; done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import subprocess
from pathlib import Path

import pkcs11
import PyKCS11

module = glob.glob("root/usr/lib/*/softhsm/libsofthsm2.so")[0]
Path("tokens").mkdir()
Path("softhsm2.conf").write_text(f"directories.tokendir = {Path('tokens').resolve()}\nlog.level = ERROR\n")
os.environ["SOFTHSM2_CONF"] = str(Path("softhsm2.conf").resolve())
make = ["root/usr/bin/softhsm2-util", "--module", module, "--init-token", "--free", "--label", "app", "--so-pin", "5678"]
subprocess.run([*make, "--pin", "1234"], check=True, capture_output=True, timeout=60)


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


token = pkcs11.lib(module).get_token(token_label="app")
first = token.open(rw=True, user_pin="1234")
iv = bytes(16)
stored = first.generate_key(pkcs11.KeyType.AES, 256, label="db", store=True).encrypt(b"hush", mechanism_param=iv)
again = said(lambda: token.open(user_pin="1234"))
second = token.open()
key = second.get_key(label="db")
before = key.decrypt(stored, mechanism_param=iv)
first.close()
found, held = said(lambda: second.get_key(label="db")), said(lambda: key.decrypt(stored, mechanism_param=iv))
second.close()
with token.open(user_pin="1234") as third:
    later = third.get_key(label="db").decrypt(stored, mechanism_param=iv)
print(f"python-pkcs11: second login {again}, before the close {before}, after it {found} and {held}, at the next login {later}")

library = PyKCS11.PyKCS11Lib()
library.load(module)
slot = library.getSlotList(tokenPresent=True)[0]
sessions = [library.openSession(slot), library.openSession(slot)]
sessions[0].login("1234")
wanted = [(PyKCS11.CKA_LABEL, "db")]
seen = [len(sessions[1].findObjects(wanted))]
sessions[0].closeSession()
seen.append(len(sessions[1].findObjects(wanted)))
sessions[1].logout()
seen.append(len(sessions[1].findObjects(wanted)))
print("PyKCS11: keys found before the close, after it, and after a logout:", seen)
assert again == "UserAlreadyLoggedIn"
assert before == later == b"hush"
assert (found, held) == ("NoSuchKey", "ObjectHandleInvalid")
assert seen == [1, 1, 0]
END
venv/bin/python see.py
