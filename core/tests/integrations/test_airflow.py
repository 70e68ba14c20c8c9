"""The secrets backend inside a real Airflow, in an environment of its own.

Airflow brings some 130 packages, of which several want other versions than this repository pins: so the
environment is made again, by `make torture` alone. `AIRFLOW_PYTHON` names an interpreter to use instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry

ROOT = Path(__file__).parents[3]
SPEC = "version: 1\npipelines: {app: {provider: {type: file, file_path: s.enc, key_file: s.key}}}\n"
VALUES = {
    "airflow/connections/warehouse": "postgresql://app:s%2Fcret@db.example:5432/app",
    "airflow/connections/as_json": '{"conn_type": "http", "host": "x", "extra": {"a": 1}}',
    "airflow/variables/greeting": "hello",
    "airflow/variables/structured": '{"a": [1]}',
    "airflow/variables/blue/greeting": "salut",
    "airflow/config/sql_alchemy_conn": "sqlite:////tmp/x.db",
}


@pytest.fixture
def airflow(tmp_path):
    given = os.environ.get("AIRFLOW_PYTHON")
    if given:
        return given
    uv = str(Path(sys.executable).parent / "uv")
    python = str(tmp_path / "venv" / "bin" / "python")
    packages = [f"-e{ROOT / folder}" for folder in ("core", "plugins/file", "plugins/memory", "plugins/env")]
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(tmp_path / "venv")], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", python, "apache-airflow-task-sdk", *packages], check=True
    )
    return python


@pytest.mark.torture
def test_airflow_looks_things_up(airflow, tmp_path):
    """Found, absent, and refused, by the calls that a task makes; a refusal is final, also for Airflow."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(SPEC)
    spec.chmod(0o644)
    with SecretProviderRegistry(spec) as registry:
        registry.pipeline("app").inner.create()
        registry.set_secrets(VALUES)
    done = subprocess.run(
        [airflow, str(Path(__file__).with_name("airflow_host.py"))],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__SECRETS__BACKEND": "strongroom.integrations.airflow.StrongroomSecretsBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"spec": str(spec)}),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET": "sql_alchemy_conn",
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "connection": ["postgres", "db.example", "app", "s/cret"],
        "json": {"a": 1},
        "variable": "hello",
        "structured": {"a": [1]},
        "config": VALUES["airflow/config/sql_alchemy_conn"],
        "conf": VALUES["airflow/config/sql_alchemy_conn"],
        "team": "salut",
        "no_connection": "AirflowNotFoundException",
        "no_variable": "default",
        "shared": 1,
        "odd": [None, None, None, None],
        "broken": {
            "denied": ["refused: PermissionDeniedError"] * 3,
            "down": ["refused: BackendUnavailableError"] * 3,
            "elsewhere": ["http://fallback", "fallback", None],
        },
        "going on": ["refused: PermissionDeniedError", "BackendUnavailableError", None],
    }
    assert "s/cret" not in done.stderr
