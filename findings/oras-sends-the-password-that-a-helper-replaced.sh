#!/usr/bin/env bash
# oras 0.2.43, docker 7.2.0, testcontainers 4.15.0 and testcontainers 12.0.4 of npm: one config.json of docker, two passwords.
# Seen: after `docker login` the file has a password under "auths"; later credHelpers (or credsStore) names a helper, which gives the new one.
# The docker SDK and testcontainers of npm then ask the helper, as docker does; oras sends the old password of the file, and asks
# the helper only where "auths" has none: after a rotation it is refused, or goes on with the account that was to be replaced. An
# entry with "username" and "password" is a login for testcontainers of npm and nothing for the docker SDK. A
# password with a colon is whole for three, and for testcontainers of PyPI the file is one that it cannot parse.
# Guess: who reads docker's file logs in as docker would. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check oras==0.2.43 docker==7.2.0 testcontainers==4.15.0
npm install --silent --no-fund --no-audit testcontainers@12.0.4
cat >see.cjs <<'END'
const { getAuthConfig } = require("./node_modules/testcontainers/build/container-runtime/auth/get-auth-config.js");

getAuthConfig(process.argv[2]).then((found) => console.log(found?.password ?? null));
END
cat >see.py <<'END'
import base64
import json
import os
import subprocess
from pathlib import Path

import oras.client
from docker import auth
from testcontainers.core.auth import parse_docker_auth_config

Path("bin").mkdir()
helper = Path("bin/docker-credential-own")
helper.write_text("""#!/bin/sh\ncat >/dev/null\necho '{"ServerURL": "x", "Username": "app", "Secret": "new"}'\n""")
helper.chmod(0o700)
os.environ |= {"DOCKER_CONFIG": os.getcwd(), "HOME": os.getcwd(), "PATH": f"{Path('bin').resolve()}:{os.environ['PATH']}"}
os.environ.pop("DOCKER_AUTH_CONFIG", None)
HOST = "images.example:5000"


def login(password):
    return {"auth": base64.b64encode(f"app:{password}".encode()).decode()}


def see(name, **config):
    """The password that oras, the docker SDK and testcontainers, of npm and of PyPI, take from a file."""
    Path("config.json").write_text(json.dumps(config))
    client = oras.client.OrasClient(hostname=HOST, auth_backend="basic")
    client.auth._basic_auth = ""
    client.auth.load_configs(client.get_container(f"{HOST}/app:1"), configs=["config.json"])
    by_oras = base64.b64decode(client.auth._basic_auth).decode().partition(":")[2] or None
    found = auth.load_config("config.json").resolve_authconfig(HOST) or {}
    by_docker = found.get("password", found.get("Password"))
    by_npm = subprocess.run(["node", "see.cjs", HOST], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    try:
        by_pypi = [one.password for one in parse_docker_auth_config(json.dumps(config)) or [] if one.registry == HOST]
    except ValueError as error:
        by_pypi = str(error)
    seen = [by_oras, by_docker, None if by_npm == "null" else by_npm]
    print(f"{name}: oras, docker, testcontainers of npm {seen}, of PyPI {by_pypi}")
    return seen, by_pypi


none = "Could not parse docker auth config"
assert see("helper alone", auths={}, credHelpers={HOST: "own"})[0] == ["new"] * 3
assert see("helper of the host", auths={HOST: login("old")}, credHelpers={HOST: "own"})[0] == ["old", "new", "new"]
assert see("helper of all hosts", auths={HOST: login("old")}, credsStore="own")[0] == ["old", "new", "new"]
assert see("in words", auths={HOST: {"username": "app", "password": "hush"}}) == ([None, None, "hush"], none)
assert see("with a colon", auths={HOST: login("hu:sh")}) == (["hu:sh"] * 3, none)
assert see("plain", auths={HOST: login("hush")}) == (["hush"] * 3, ["hush"])
END
venv/bin/python see.py
