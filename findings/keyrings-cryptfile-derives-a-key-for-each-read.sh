#!/usr/bin/env bash
# keyrings.cryptfile 1.3.9 with argon2-cffi 25.1.0: each read of a password runs Argon2 anew, even of the one that was just read.
# Seen: with the keyring unlocked, 20 reads of one password call Argon2 20 times (15 passes over 64 MiB each), since every entry has a salt
# of its own and no derived key is kept; each took more than half a second of processor time where this was written, and an absent entry
# costs next to nothing. 16 workers that read 10 passwords each derive 160 keys. Guess: the key is derived when the keyring is unlocked.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keyrings.cryptfile==1.3.9 keyring==25.7.0 argon2-cffi==25.1.0
cat >see.py <<'END'
import time

import argon2.low_level
from keyrings.cryptfile.cryptfile import CryptFileKeyring

derived = []
derive = argon2.low_level.hash_secret_raw


def counted(**given):
    derived.append(given["salt"])
    assert (given["time_cost"], given["memory_cost"]) == (15, 65536)
    return derive(**given)


argon2.low_level.hash_secret_raw = counted
keyring = CryptFileKeyring()
keyring.file_path = "keyring.cfg"
keyring.keyring_key = "the passphrase of the keyring"
keyring.set_password("database", "app", "hush")


def cost(user, times):
    """How often Argon2 runs, and the seconds of processor time."""
    derived.clear()
    begun = time.process_time()
    assert {keyring.get_password("database", user) for _ in range(times)} == {"hush" if user == "app" else None}
    return len(derived), time.process_time() - begun


one, present, absent = cost("app", 1), cost("app", 20), cost("nobody", 20)
print("derivations and seconds: one read", one, "20 reads", present, "20 reads of an absent entry", absent)
assert (one[0], present[0], absent[0]) == (1, 20, 0)
assert present[1] > 5 * one[1] and present[1] > 100 * absent[1]
END
venv/bin/python see.py
