"""The constructor's options, checked without any I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.deadlines import check_limits
from strongroom.errors import ConfigurationError, show_key

from strongroom_gcp import credentials as logins

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}")
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `GCPSecretProvider`; see there for their meaning."""

    project_id: str
    location: str | None
    credentials: Any = field(repr=False)
    credentials_file: Path | None
    client_options: dict[str, Any] = field(repr=False)
    transport: Any
    timeout: float
    deadline: float | None
    max_workers: int
    replication: tuple[str, ...]
    kms_key_name: str | None
    labels: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether the transport is an object that the caller made and closes."""
        return self.transport is not None and not isinstance(self.transport, str)

    @property
    def parent(self) -> str:
        """The resource name that secrets are under."""
        return f"projects/{self.project_id}" + (f"/locations/{self.location}" if self.location else "")

    def placement(self) -> dict[str, Any]:
        """Return where a new secret is kept and with which key it is encrypted, as members of `Secret`."""
        if self.location:
            return self._encryption(self.location)
        if self.replication:
            replicas = [{"location": location, **self._encryption(location)} for location in self.replication]
            return {"replication": {"user_managed": {"replicas": replicas}}}
        return {"replication": {"automatic": self._encryption("global")}}

    def _encryption(self, location: str) -> dict[str, Any]:
        if self.kms_key_name is None:
            return {}
        name = self.kms_key_name.replace("{location}", location)
        return {"customer_managed_encryption": {"kms_key_name": name}}


def checked(**given: Any) -> Options:
    """Return the options in the form the provider works with.

    Raises:
        ConfigurationError: One is malformed, or two do not go together.
    """
    options = Options(
        **{
            **given,
            "credentials": _parsable(given["credentials"]),
            "credentials_file": _path(given["credentials_file"]),
            "client_options": _mapping(given["client_options"]),
            "replication": _locations(given["replication"]),
            "labels": dict(given["labels"] or {}),
        }
    )
    _check_names(options)
    _check_login(options)
    _check_transport(options)
    counts = {"max_workers": options.max_workers}
    check_limits("gcp", timeout=options.timeout, deadline=options.deadline, counts=counts)
    return options


def bad(what: str, hint: str | None = None) -> ConfigurationError:
    """Return the error for a wrong option."""
    return ConfigurationError(f"gcp: {what}", provider="gcp", hint=hint)


def _check_names(options: Options) -> None:
    if not isinstance(options.project_id, str) or not _PROJECT.fullmatch(options.project_id):
        raise bad(
            f"project_id must be a project's id or number, got {show_key(options.project_id)}",
            "as in 'my-project'",
        )
    if options.location is None:
        return
    if not isinstance(options.location, str) or not _LOCATION.fullmatch(options.location):
        raise bad(f"location must be a region, got {show_key(options.location)}", "as in 'europe-west3'")
    if options.replication:
        raise bad(
            "replication is for global secrets, and location makes them regional", "leave out one of the two"
        )


def _check_login(options: Options) -> None:
    if options.credentials is not None and options.credentials_file is not None:
        raise bad("credentials and credentials_file exclude each other", "leave out one of the two")
    if options.ready and (options.credentials is not None or options.credentials_file is not None):
        raise bad("a ready transport brings its own login", "give the credentials to the transport")


def _check_transport(options: Options) -> None:
    if options.ready:
        return
    if options.transport not in ("grpc", "rest", None):
        raise bad(f"transport must be 'grpc', 'rest' or a ready transport, got {options.transport!r}")
    plain = str(options.client_options.get("api_endpoint") or "").startswith("http://")
    if plain and options.transport != "rest":
        raise bad(
            "gRPC always uses TLS, so it cannot reach an api_endpoint that begins with 'http://'",
            "set transport to 'rest', or give a ready transport with a plain channel",
        )


def _parsable(credentials: Any) -> Any:
    if isinstance(credentials, str):
        logins.parse(credentials, "credentials")  # kept as text: its reference may bring in another one later
    return credentials


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)


def _mapping(options: Any) -> dict[str, Any]:
    """Return client options as a mapping; of the SDK's own object, its attributes."""
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return dict(options)
    return {name: value for name, value in vars(options).items() if value is not None}


def _locations(replication: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(replication, str):
        raise bad("replication must be a list of locations, got text", f"as in [{replication!r}]")
    return tuple(replication or ())
