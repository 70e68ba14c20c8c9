"""The findings of `strongroom doctor` about a Vault server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from strongroom.errors import PermissionDeniedError

from strongroom_vault.errors import part

_OUTSIDE = {"X-Vault-Namespace": ""}
"""In a namespace the server does not report its health: 400 `operation unavailable in namespaces`."""


def diagnose(client: Any, list_root: Callable[[], object]) -> dict[str, str]:
    """Return who is logged in and what works; the token itself is never shown."""
    before = time.time()
    health = client.call(
        "get",
        "/v1/sys/health",
        "ask for its health",
        counts=False,
        params={"standbyok": "true"},
        headers=_OUTSIDE,
    )
    skew = part(health, "server_time_utc", kind=int) - (before + time.time()) / 2
    identity = _identity(client)
    try:
        list_root()
    except PermissionDeniedError:
        can_list = "no"
    else:
        can_list = "yes"
    return {
        "reachable": "yes",
        "identity": identity,
        "can_list": can_list,
        "clock_skew": f"{skew:.0f}",
    }


def _identity(client: Any) -> str:
    if client.login.has_few_uses:
        return "not looked up: it would cost a use of the token"
    try:
        who = part(client.call("get", "/v1/auth/token/lookup-self", "look up the token"), "data")
    except PermissionDeniedError:
        # Without the policy `default`, which nothing else here needs.
        return "not known: the token may not look itself up"
    policies = who.get("policies")
    names = ", ".join(map(str, policies)) if isinstance(policies, list) else ""
    return f"{who.get('display_name')} ({names})"
