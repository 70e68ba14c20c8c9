"""Keys that Airflow's names become, and what is not there, with its base class stood in for: the class is made without Airflow."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
from strongroom.backends import MemorySecretProvider
from strongroom.errors import SecretNotFoundError


@pytest.fixture
def backend(monkeypatch):
    """A backend of the integration over a store in memory, and the store."""
    for name in ("airflow", "airflow.secrets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["airflow.secrets"].BaseSecretsBackend = object
    monkeypatch.delitem(sys.modules, "strongroom.integrations.airflow", raising=False)
    module = importlib.import_module("strongroom.integrations.airflow")
    monkeypatch.delitem(sys.modules, "strongroom.integrations.airflow")
    store = MemorySecretProvider()
    return module.StrongroomSecretsBackend(registry=store), store


def test_no_name_leads_to_another_teams(backend):
    """A slash in a name does not make a team of what stands before it, whatever is asked for."""
    asked, store = backend
    store.set_secret("airflow/connections/blue/prod", "the team's")
    assert asked.get_conn_value("prod", team_name="blue") == "the team's"
    for name, team in (("blue/prod", None), ("../blue/prod", "red"), ("blue%2Fprod", None), ("prod", "red")):
        assert asked.get_conn_value(name, team_name=team) is None
    store.set_secret("airflow/connections/blue%2Fprod", "nobody's")
    assert asked.get_conn_value("blue/prod") == "nobody's"


@pytest.mark.parametrize("reason", ["deleted", "destroyed", "disabled"])
def test_what_was_taken_away_is_not_left_to_the_next_backend(backend, monkeypatch, reason):
    """Airflow's environment or database may still have the value that somebody has disabled."""
    asked, store = backend

    def get_secret(key):
        raise SecretNotFoundError(key, reason=reason)

    monkeypatch.setattr(store, "get_secret", get_secret)

    with pytest.raises(PermissionError, match=f"not found: {reason}"):
        asked.get_conn_value("prod")
