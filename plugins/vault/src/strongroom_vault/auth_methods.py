"""The ways to log in, and what each of them takes; importing this needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["why_not_auth"]

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "token_file": ("path",),
    "approle": ("role_id",),
    "userpass": ("username", "password"),
    "kubernetes": ("role",),
    "jwt": ("role",),
}
_ALLOWED: Mapping[str, frozenset[str]] = {
    "token_file": frozenset({"path"}),
    "approle": frozenset({"role_id", "secret_id", "secret_id_path"}),
    "userpass": frozenset({"username", "password"}),
    "kubernetes": frozenset({"role", "jwt", "jwt_path"}),
    "jwt": frozenset({"role", "jwt", "jwt_path"}),
}


def why_not_auth(auth: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the option `auth`, without a credential; None where it is right."""
    method = str(auth.get("method"))
    if method not in _NEEDS:
        return f"auth has no known `method`; known: {', '.join(_NEEDS)}"
    given = set(auth) - {"method", "mount_point"}
    wrong = sorted(given - _ALLOWED[method]) + sorted(set(_NEEDS[method]) - given)
    if method == "jwt" and not given & {"jwt", "jwt_path"}:
        wrong.append("jwt or jwt_path")
    return f"auth method {method}: missing or unknown: {', '.join(wrong)}" if wrong else None
