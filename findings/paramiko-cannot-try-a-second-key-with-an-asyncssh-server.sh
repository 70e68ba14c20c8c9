#!/usr/bin/env bash
# paramiko 5.1.0 with a server of asyncssh 2.24.1, and OpenSSH 9.2 (Debian 12): after one key that the server does not know the login ends.
# Seen: a client has two keys, and the server knows the second. ssh and asyncssh log in. paramiko gets "Authentication failed: transport shut down or saw
# EOF"; the server has ended the connection with "Unexpected service in service request", since paramiko asks for the service ssh-userauth with each
# attempt. So it is with a wrong key and a right password, and with a key from an agent. During a rotation, where a client has the old key and the new,
# it depends on their order. With one key alone, and with allow_agent=False and look_for_keys=False, paramiko logs in; so it does with all
# of them where connect() gets transport_factory=paramiko.ServiceRequestingTransport, which asks once. Guess: a client that has the right key gets
# in. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paramiko==5.1.0 asyncssh==2.24.1 cryptography==50.0.2
cat >see.py <<'END'
import asyncio
import logging
import subprocess

import asyncssh
import paramiko

for name in "host", "old", "new":
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True, timeout=60)
ended = []


class Log(logging.Handler):
    def emit(self, record):
        ended.append(record.getMessage())


logging.getLogger("asyncssh").addHandler(Log())
logging.getLogger("asyncssh").setLevel("INFO")


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, _user, password):
        return password == "hush"


def by_paramiko(port, keys, **more):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    try:
        client.connect("127.0.0.1", port, "app", key_filename=keys, allow_agent=False, look_for_keys=False, **more)
        return "in"
    except paramiko.SSHException as error:
        return str(error)
    finally:
        client.close()


def by_ssh(port, keys):
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
    named = [f"-o{one}" for one in options] + [f"-i{key}" for key in keys]
    words = ["ssh", "-F", "/dev/null", *named, "-p", str(port), "app@127.0.0.1", "true"]
    return "in" if subprocess.run(words, capture_output=True, timeout=60).returncode == 0 else "refused"


async def by_asyncssh(port, keys):
    async with asyncssh.connect("127.0.0.1", port, username="app", client_keys=keys, known_hosts=None, agent_path=None, config=None):
        return "in"


async def main():
    ways = {"server_host_keys": ["host"], "authorized_client_keys": "new.pub", "process_factory": lambda process: process.exit(0)}
    server = await asyncssh.create_server(Server, "127.0.0.1", 0, **ways)
    port = server.get_port()
    both, once = ["old", "new"], {"transport_factory": paramiko.ServiceRequestingTransport}
    seen = {
        "ssh, both": await asyncio.to_thread(by_ssh, port, both),
        "asyncssh, both": await by_asyncssh(port, both),
        "paramiko, new": await asyncio.to_thread(by_paramiko, port, ["new"]),
        "paramiko, asking once, both": await asyncio.to_thread(by_paramiko, port, both, **once),
        "paramiko, asking once, old and password": await asyncio.to_thread(by_paramiko, port, ["old"], password="hush", **once),
        "paramiko, password": await asyncio.to_thread(by_paramiko, port, [], password="hush"),
    }
    assert not any("Unexpected service" in one for one in ended)
    failed = {
        "paramiko, both": await asyncio.to_thread(by_paramiko, port, both),
        "paramiko, old and password": await asyncio.to_thread(by_paramiko, port, ["old"], password="hush"),
    }
    server.close()
    for name, one in {**seen, **failed}.items():
        print(f"{name}: {one}")
    assert set(seen.values()) == {"in"}
    assert set(failed.values()) == {"Authentication failed: transport shut down or saw EOF"}
    assert sum("Unexpected service in service request" in one for one in ended) == 2


asyncio.run(main())
END
venv/bin/python see.py
