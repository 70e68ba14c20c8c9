"""Looks things up as Airflow's own tasks do; run by test_airflow.py with an interpreter that has Airflow."""

from __future__ import annotations

import json
import os
import sys

from airflow.sdk import Connection, Variable
from airflow.sdk.configuration import conf, ensure_secrets_loaded
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
from strongroom.errors import BackendUnavailableError, PermissionDeniedError, SecretNotFoundError
from strongroom.integrations import airflow as module
from strongroom.integrations.airflow import StrongroomSecretsBackend


class Broken:
    """Some keys are refused, some out of reach, the others not there."""

    def get_secret(self, key):
        if "denied" in key:
            raise PermissionDeniedError(key)
        if "down" in key:
            raise BackendUnavailableError("no route to host")
        raise SecretNotFoundError(key)

    set_secret = delete_secret = list_secrets = get_secret


def outcome(look_up):
    try:
        return look_up()
    except AirflowSecretsBackendAccessDenied as error:
        return f"refused: {type(error.__cause__).__name__}"
    except Exception as error:
        return type(error).__name__


def main():
    [backend] = [one for one in ensure_secrets_loaded() if isinstance(one, StrongroomSecretsBackend)]
    connection = Connection.get("warehouse")
    found = {
        "connection": [connection.conn_type, connection.host, connection.login, connection.password],
        "json": Connection.get("as_json").extra_dejson,
        "variable": Variable.get("greeting"),
        "structured": Variable.get("structured", deserialize_json=True),
        "config": backend.get_config("sql_alchemy_conn"),
        "conf": conf.get("database", "sql_alchemy_conn"),
        "team": backend.get_variable("greeting", team_name="blue"),
        "no_connection": outcome(lambda: Connection.get("nobody")),
        "no_variable": Variable.get("nothing", default="default"),
        "shared": len(module._registries),
        "odd": [backend.get_variable(name) for name in ("../connections/warehouse", "", "a//b", "\n")],
    }
    # Now the environment has what the backend is refused: Airflow must not take it from there.
    module._shared = lambda spec, profile: Broken()
    names = ("denied", "down", "elsewhere")
    for name in names:
        os.environ[f"AIRFLOW_VAR_{name.upper()}"] = os.environ[f"AIRFLOW_CONN_{name.upper()}"] = (
            "http://fallback"
        )
    found["broken"] = {
        name: [
            outcome(lambda name=name: Variable.get(name)),
            outcome(lambda name=name: Connection.get(name).host),
            outcome(lambda name=name: backend.get_config(name)),
        ]
        for name in names
    }
    backend._go_on = True  # what it raises then, Airflow takes for "ask the next"
    found["going on"] = [outcome(lambda name=name: backend.get_variable(name)) for name in names]
    json.dump(found, sys.stdout)


main()
