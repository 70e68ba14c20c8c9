"""Keys that Airflow's names become, and what is not there, with its base class stood in for: the class is made without Airflow."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
from strongroom import SecretHook, SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.errors import BackendUnavailableError, ConfigurationError, SecretNotFoundError

SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


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


def test_an_error_of_any_type_is_not_left_to_the_next_backend(backend):
    """As the veto of a hook, which reaches the caller as it is; a third party's absent key is absent."""
    asked, _ = backend

    class Closed(SecretHook):
        def before(self, event):
            raise LookupError("not on a Sunday")

    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(Closed())
        with pytest.raises(PermissionError, match="cannot answer: LookupError"):
            type(asked)(registry=registry).get_conn_value("prod")

    class Foreign(dict):
        get_secret = set_secret = delete_secret = list_secrets = dict.__getitem__

    assert type(asked)(registry=Foreign()).get_conn_value("prod") is None


@pytest.mark.parametrize("prefix", ["team/conns", "team/conns/", "/team/conns", ""])
def test_a_prefix_may_be_written_as_for_other_backends(backend, prefix):
    """With a slash at its end, or none at all: else every name would be taken for absent, without a word."""
    asked, store = backend
    key = f"{prefix.strip('/')}/prod".removeprefix("/")
    store.set_secret(key, "found")
    assert type(asked)(registry=store, connections_prefix=prefix).get_conn_value("prod") == "found"


@pytest.mark.parametrize("goes_on", ["true", "True", "false", True, False])
def test_a_flag_may_come_from_the_environment(backend, failing, goes_on):
    """Airflow passes `AIRFLOW__SECRETS__BACKEND_KWARG__GO_ON_WHEN_UNAVAILABLE` as text."""
    down = failing(BackendUnavailableError("no route to host"))
    made = type(backend[0])(registry=down, go_on_when_unavailable=goes_on)

    with pytest.raises(Exception, match="no route") as caught:
        made.get_variable("greeting")

    assert isinstance(caught.value, BackendUnavailableError) == (str(goes_on).lower() == "true")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"go_on_when_unavailable": "no"}, ConfigurationError), ({"sepc": "strongroom.yaml"}, TypeError)],
)
def test_a_mistake_in_the_options_is_not_passed_over(backend, options, error):
    """Airflow would take its next backend's values instead of those of the spec that was meant."""
    with pytest.raises(error, match=next(iter(options))):
        type(backend[0])(**options)
