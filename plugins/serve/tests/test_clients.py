"""Other people's clients, as their users have them. hvac and `bao` are in test_conformance.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from installed import python_with
from served import WEB, spec_of

CLIENT = {"name": "web", "token": WEB, "allow": ["app/**", "connections/*", "secretspec/**"]}
MORE = ["get", "list", "describe", "set", "delete"]


@pytest.fixture
def server(served):
    return served(spec_of({**CLIENT, "operations": MORE}))


def said(words, folder, **environ):
    """Return what a program says, run with nothing of this process's environment but PATH."""
    done = subprocess.run(
        [str(word) for word in words],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_asks_as_it_asks_the_agent_of_aws(server, tmp_path):
    server.registry.set_secret("app/db", "correct horse")
    url = f"{server.url}/secretsmanager/get?secretId=app/db"
    words = ["curl", "-sS", "--fail-with-body", "-H", f"X-Aws-Parameters-Secrets-Token: {WEB}", url]
    told = json.loads(said(words, tmp_path))
    assert (told["Name"], told["SecretString"], told["VersionStages"]) == (
        "app/db",
        "correct horse",
        ["AWSCURRENT"],
    )


SECRETSPEC = """\
[project]
name = "shop"
revision = "1.0"

[profiles.default]
PASSWORD = { description = "By convention" }
DATABASE = { description = "By name", ref = { item = "app/db", field = "password" } }
ABSENT = { description = "Not there", required = false }
"""
SECRETSPEC_HOST = """\
import json, sys
from secretspec import SecretSpec
loaded = SecretSpec.builder().with_path("secretspec.toml").with_provider(sys.argv[1]).with_reason("test").load()
print(json.dumps(loaded.fields()))
"""


@pytest.mark.torture
def test_secretspecs_sdk_resolves_by_its_provider_vault(server, tmp_path):
    server.put("secretspec/shop/default/PASSWORD", "p")
    server.put("app/db", {"username": "u", "password": "of the database"})
    (tmp_path / "secretspec.toml").write_text(SECRETSPEC)
    python = python_with(tmp_path, "secretspec==0.21.1")
    uri = f"vault://127.0.0.1:{server.port}/secret?tls=false"
    told = json.loads(said([python, "-c", SECRETSPEC_HOST, uri], tmp_path, VAULT_TOKEN=WEB))
    assert {name: value for name, value in told.items() if value is not None} == {
        "PASSWORD": "p",
        "DATABASE": "of the database",
    }


AIRFLOW_HOST = """\
import json, sys
from airflow.providers.hashicorp.secrets.vault import VaultBackend
backend = VaultBackend(connections_path="connections", variables_path="app", config_path=None,
                       mount_point="secret", auth_type="token", url=sys.argv[1], token=sys.argv[2])
found = backend.get_connection("warehouse")
print(json.dumps([found.host, found.password, backend.get_variable("greeting"), backend.get_variable("absent")]))
"""


@pytest.mark.torture
def test_airflows_backend_for_vault_finds_connections_and_variables(server, tmp_path):
    server.put("connections/warehouse", {"conn_uri": "postgresql://app:s%2Fcret@db.example:5432/app"})
    server.put("app/greeting", "hello")
    python = python_with(tmp_path, "apache-airflow-providers-hashicorp==4.8.4")
    (tmp_path / "airflow").mkdir()
    told = said(
        [python, "-c", AIRFLOW_HOST, server.url, WEB], tmp_path, AIRFLOW_HOME=str(tmp_path / "airflow")
    )
    assert json.loads(told.splitlines()[-1]) == ["db.example", "s/cret", "hello", None]


NODE_VAULT_HOST = """\
const vault = require('node-vault')({endpoint: process.argv[2], token: process.argv[3]});
(async () => {
  await vault.write('secret/data/app/db', {data: {username: 'u', password: 'p'}, options: {cas: 0}});
  const read = await vault.read('secret/data/app/db');
  const listed = await vault.list('secret/metadata/app');
  const health = await vault.health();
  const self = await vault.tokenLookupSelf();
  await vault.delete('secret/data/app/db');
  const gone = await vault.read('secret/data/app/db').then(() => 0, error => error.response.statusCode);
  const refused = await vault.read('secret/data/other').then(() => 0, error => error.response.statusCode);
  console.log(JSON.stringify([read.data.data, listed.data.keys, health.sealed, self.data.display_name, gone, refused]));
})();
"""


@pytest.mark.torture
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_node_vault_writes_reads_lists_and_deletes(server, tmp_path):
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "node-vault@0.12.0"]
    subprocess.run(words, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    (tmp_path / "host.js").write_text(NODE_VAULT_HOST)
    told = json.loads(said(["node", "host.js", server.url, WEB], tmp_path))
    assert told == [{"username": "u", "password": "p"}, ["db"], False, "web", 404, 403]
