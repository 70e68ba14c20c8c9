"""A secrets backend for Airflow: connections, variables and configuration from strongroom.

    [secrets]
    backend = strongroom.integrations.airflow.StrongroomSecretsBackend
    backend_kwargs = {"spec": "/etc/airflow/strongroom.yaml"}

A connection's value is a URI, or a JSON object with Airflow's members, as for all of Airflow's backends.

For Airflow an error means "not here": it asks its next backend, the environment or its own database, which
may have an older value. Only `AirflowSecretsBackendAccessDenied` (task SDK 1.2.2 and later) makes it stop. So
the error that this backend raises if access is refused, or its server out of reach, is derived from that
class.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.integrations.hosts import MissingHostError
from strongroom.parallel import BuildLock
from strongroom.providers import guard

try:
    try:
        from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
    except ModuleNotFoundError:
        from airflow.secrets import BaseSecretsBackend  # Airflow 2
except ModuleNotFoundError as _error:
    raise MissingHostError("airflow", "apache-airflow") from _error
try:
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied as _Stop
except ImportError:
    _Stop = PermissionError

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry

__all__ = ["SecretsRefusedError", "StrongroomSecretsBackend"]


class SecretsRefusedError(StrongroomError, _Stop):  # type: ignore[misc]  # Airflow has no types here
    """Strongroom cannot answer, so Airflow must not ask its next backend. The cause says why."""


class StrongroomSecretsBackend(BaseSecretsBackend):  # type: ignore[misc]  # as above
    """Answers Airflow from a strongroom registry, which is made at the first look-up and kept.

    Airflow makes a backend for each look-up; those of one process share the registry, and so its caches.

    Args:
        spec: Path of the spec; without one, see `SecretProviderRegistry`.
        profile: The spec's profile.
        connections_prefix: What the keys of connections begin with, with or without a slash at its end; None
            for no connections.
        variables_prefix: The same for variables.
        config_prefix: The same for configuration (`sql_alchemy_conn_secret = NAME`).
        go_on_when_unavailable: Let Airflow ask its next backend if this one is unavailable, but never if it
            denies. May be the text `true` or `false`, which is how Airflow passes an environment variable.
        registry: Any provider, instead of the spec's (in Python only).

    Raises:
        ConfigurationError: `go_on_when_unavailable` is something else.
        TypeError: There is no option of that name.
    """

    def __init__(
        self,
        spec: str | None = None,
        *,
        profile: str | None = None,
        connections_prefix: str | None = "airflow/connections",
        variables_prefix: str | None = "airflow/variables",
        config_prefix: str | None = "airflow/config",
        go_on_when_unavailable: bool | str = False,
        registry: Any = None,
    ) -> None:
        super().__init__()
        self._spec, self._profile = spec, profile
        self._connections, self._variables, self._config = connections_prefix, variables_prefix, config_prefix
        self._go_on = _flag(go_on_when_unavailable)
        self._registry = None if registry is None else guard(registry)

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return the serialized connection, None if there is none.

        Raises:
            SecretsRefusedError: Denied, not logged in, out of reach, broken; or it was deleted, destroyed or
                disabled.
        """
        return self._get(self._connections, conn_id, team_name)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Return the variable, None if there is none; raises as `get_conn_value`."""
        return self._get(self._variables, key, team_name)

    def get_config(self, key: str) -> str | None:
        """Return a configuration option, None if there is none; raises as `get_conn_value`."""
        return self._get(self._config, key, None)

    def _get(self, prefix: str | None, name: str, team: str | None) -> str | None:
        if prefix is None:
            return None
        try:
            parts = [prefix.strip("/"), *(_segment(part) for part in (team, name) if part)]
            return self._read("/".join(part for part in parts if part))
        except InvalidKeyError:  # a name that cannot be a key does not exist
            return None
        except SecretNotFoundError as error:
            if error.reason == "absent":
                return None
            problem: StrongroomError = error  # someone deleted or disabled it: an older value will not do
        except BackendUnavailableError as error:
            if self._go_on:
                raise
            problem = error
        except StrongroomError as error:
            problem = error
        except Exception as error:  # a hook's veto may be of any type, and Airflow would go on after it
            raise SecretsRefusedError(f"strongroom cannot answer: {type(error).__name__}") from error
        raise SecretsRefusedError(str(problem), hint=problem.hint) from problem

    def _read(self, key: str) -> str:
        registry = self._registry if self._registry is not None else _shared(self._spec, self._profile)
        value: str = registry.get_secret(key)
        return value


def _flag(value: bool | str) -> bool:
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise ConfigurationError("Airflow's secrets backend: go_on_when_unavailable is not true or false")
    return text == "true"


def _segment(name: str) -> str:
    """Return `name` as one segment: `blue/greeting` must not be the `greeting` of the team `blue`."""
    return name.replace("%", "%25").replace("/", "%2F")


_registries: dict[tuple[object, ...], SecretProviderRegistry] = {}
_opening = BuildLock()


def _shared(spec: str | None, profile: str | None) -> SecretProviderRegistry:
    # Airflow forks, and connections must not be shared with the parent. The other parts decide which spec it
    # is.
    chosen_by = (os.environ.get("STRONGROOM_SPEC"), os.environ.get("STRONGROOM_PROFILE"), Path.cwd())
    wanted = (os.getpid(), spec, profile, *chosen_by)
    with _opening.held():
        if wanted not in _registries:
            from strongroom.registry import SecretProviderRegistry

            _registries[wanted] = SecretProviderRegistry(spec, profile=profile)
        return _registries[wanted]
