#!/usr/bin/env bash
# python-gnupg 0.5.7 with GnuPG 2.2.40 (Debian 12): once the right passphrase was used, `decrypt` and `sign` succeed with any other one.
# Seen: a new agent refuses a wrong passphrase, and takes the right one; from then on a wrong one decrypts and signs, `ok` is true, and the status is "decryption ok", because gpg-agent
# keeps the passphrase of the key for ten minutes and does not ask for another. So a script that checks a passphrase that was rotated, or that is to be stored in a vault, by decrypting
# with it is told yes for a wrong one, when it ran after something that used the right one. Where the agent is told to forget (`gpg-connect-agent reloadagent`), the wrong one is
# refused again. `gpg --pinentry-mode loopback --passphrase` does the same; of a file under a passphrase alone (`gpg -c`) a wrong one is refused each time. To do: check a passphrase
# in a new GNUPGHOME, or after `reloadagent`. Guess: a passphrase that is passed is the one that is used. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check python-gnupg==0.5.7
for package in gpg=2.2.40-1.1+deb12u2 gpg-agent=2.2.40-1.1+deb12u2 gpgconf=2.2.40-1.1+deb12u2 libassuan0 libnpth0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import subprocess
from pathlib import Path

import gnupg

home = Path.cwd() / "home"
home.mkdir(mode=0o700)
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
environment = os.environ | {"LD_LIBRARY_PATH": libraries, "GNUPGHOME": str(home)}
environment.pop("GPG_AGENT_INFO", None)
programs = Path.cwd() / "root/usr/bin"
(home / "gpg.conf").write_text(f"agent-program {programs}/gpg-agent\n")
gpg = gnupg.GPG(gpgbinary=str(programs / "gpg"), gnupghome=str(home), env=environment)


def tell_agent(word):
    subprocess.run([programs / "gpg-connect-agent", "--no-autostart", word, "/bye"], check=True, env=environment, stdout=subprocess.DEVNULL)


def tries(*passphrases):
    """What decrypting and signing with each say."""
    found = []
    for passphrase in passphrases:
        opened = gpg.decrypt(secret, passphrase=passphrase)
        found.append((passphrase, opened.ok, str(opened), bool(gpg.sign("text", keyid=key, passphrase=passphrase))))
    return found


def by_program(passphrase, message):
    words = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--decrypt"]
    done = subprocess.run([programs / "gpg", *words], input=message.encode(), capture_output=True, env=environment, timeout=60)
    return done.returncode, done.stdout.decode()


try:
    made = gpg.gen_key(gpg.gen_key_input(name_email="app@example.com", passphrase="right", key_type="RSA", key_length=2048))
    key = made.fingerprint
    secret = str(gpg.encrypt("hush", key, always_trust=True))
    under_passphrase = str(gpg.encrypt("hush", None, symmetric=True, passphrase="right"))
    seen = {"new agent": tries("wrong")}
    seen["right, then wrong"] = tries("right", "wrong", "anything else")
    program = by_program("wrong", secret)
    tell_agent("reloadagent")
    seen["after reloadagent"] = tries("wrong")
    alone = [gpg.decrypt(under_passphrase, passphrase=one).ok for one in ("wrong", "right", "wrong")]
finally:
    tell_agent("killagent")
for name, found in seen.items():
    print(f"{name}: {found}")
print("gpg itself:", program, "| under a passphrase alone:", alone)
assert seen["new agent"] == seen["after reloadagent"] == [("wrong", False, "", False)]
assert seen["right, then wrong"] == [(one, True, "hush", True) for one in ("right", "wrong", "anything else")]
assert program == (0, "hush") and alone == [False, True, False]
END
venv/bin/python see.py
