"""The requests of Vault's clients about the server itself, which they make before they read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from strongroom_serve.answers import Answer, as_json, data_answer, errors
from strongroom_serve.config import Client

__all__ = [
    "FIXED",
    "HEALTH",
    "LOOKUP_SELF",
    "MOUNTS",
    "NO_MOUNT",
    "OPENAPI",
    "health",
    "lookup_self",
    "mount",
    "mounts",
]

HEALTH: Final = "/v1/sys/health"
LOOKUP_SELF: Final = "/v1/auth/token/lookup-self"
MOUNTS: Final = "/v1/sys/internal/ui/mounts"
OPENAPI: Final = "/v1/sys/internal/specs/openapi"
NO_MOUNT: Final = errors(
    403, "preflight capability check returned 403, please ensure client's policies grant access to path"
)
_VERSION: Final = "2.7.2"
"""The release of OpenBao whose answers these are; clients derive the server's features from it."""

_NEVER_SEALED: Final = {
    "type": "shamir",
    "initialized": True,
    "sealed": False,
    "t": 1,
    "n": 1,
    "progress": 0,
    "nonce": "",
    "version": _VERSION,
    "migration": False,
    "cluster_name": "strongroom",
    "recovery_seal": False,
    "storage_type": "strongroom",
}
FIXED: Final = {
    "/v1/sys/init": Answer(200, as_json({"initialized": True})),
    "/v1/sys/seal-status": Answer(200, as_json(_NEVER_SEALED)),
    "/v1/sys/leader": Answer(200, as_json({"ha_enabled": False, "is_self": False, "leader_address": ""})),
}
"""What `bao status`, and hvac's `is_initialized` and `is_sealed`, ask: there is one server, and no seal."""


def health(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to `sys/health`, with the reasons in `report`."""
    return {
        "initialized": True,
        "sealed": False,
        "standby": False,
        "performance_standby": False,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": int(time.time()),
        "version": _VERSION,
        "cluster_name": "strongroom",
        **report,
    }


def lookup_self(client: Client) -> Answer:
    """Answer with the properties of the token, without the token itself."""
    return data_answer(
        {
            "accessor": "",
            "creation_time": 0,
            "creation_ttl": 0,
            "display_name": client.name,
            "entity_id": "",
            "expire_time": None,
            "explicit_max_ttl": 0,
            "id": "",
            "issue_time": "1970-01-01T00:00:00Z",
            "meta": None,
            "num_uses": 0,
            "orphan": True,
            "path": "serve",
            "policies": [client.name],
            "renewable": False,
            "ttl": 0,
            "type": "service",
        }
    )


def mount(name: str) -> Answer:
    """Answer with the mount at `name`: KV, version 2."""
    return data_answer(_mount(name))


def mounts(name: str) -> Answer:
    """Answer with all mounts, which is one."""
    return data_answer({"secret": {f"{name}/": _mount(name)}, "auth": {}})


def _mount(name: str) -> dict[str, Any]:
    return {
        "accessor": "kv_strongroom",
        "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
        "description": "the pipelines of strongroom",
        "external_entropy_access": False,
        "local": False,
        "options": {"version": "2"},
        "path": f"{name}/",
        "seal_wrap": False,
        "type": "kv",
        "uuid": "00000000-0000-0000-0000-000000000000",
    }
