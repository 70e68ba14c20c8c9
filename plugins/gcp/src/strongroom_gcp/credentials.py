"""Credentials of google-auth from the text of a key file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strongroom.errors import ConfigurationError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_KINDS = ("service_account", "authorized_user")


def parse(text: str, source: str) -> Mapping[str, Any]:
    """Return `text` as a JSON object; no error holds any part of it.

    Raises:
        ConfigurationError: It is not the JSON of a service account's key or an authorised user.
    """
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, Mapping) or info.get("type") not in _KINDS:
        kind = info.get("type") if isinstance(info, Mapping) else None
        got = f"an object of type {kind!r}" if isinstance(kind, str) and len(kind) < len(text) else "none"
        raise ConfigurationError(
            f"gcp: {source} must be the JSON of a service account's key or an authorised user, got {got}",
            provider="gcp",
            hint="for other logins (workload identity federation, impersonation) leave it out "
            "and let GOOGLE_APPLICATION_CREDENTIALS name the file",
        )
    return info


def read(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in the file at `path`.

    Raises:
        ConfigurationError: It cannot be read, or is not such an object.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
    else:
        return parse(text, f"credentials_file {path}")
    raise ConfigurationError(f"gcp: credentials_file {path}: {why}", provider="gcp")


def build(info: Mapping[str, Any], source: str) -> Any:
    """Return google-auth's credentials for a parsed key.

    Raises:
        ConfigurationError: google-auth cannot use the key.
    """
    from google.oauth2 import credentials, service_account

    google = None
    try:
        if info["type"] == "service_account":
            google = service_account.Credentials.from_service_account_info(dict(info))  # type: ignore[no-untyped-call]  # google-auth has no types for it
        else:
            google = credentials.Credentials.from_authorized_user_info(dict(info), scopes=[SCOPE])  # type: ignore[no-untyped-call]  # as above
    except Exception as error:  # noqa: BLE001  # whatever it is, its text may hold the key
        kind = type(error).__name__
    if google is None:
        raise ConfigurationError(
            f"gcp: {source} is not a usable key ({kind})",
            provider="gcp",
            hint="download the key again, or make a new one",
        )
    return google


def identity(credentials: Any) -> str:
    """Return the account of credentials, as far as they say; never a token."""
    if credentials is None:
        return "unknown: the transport brings its own login"
    for name in ("signer_email", "service_account_email", "account"):
        try:
            email = getattr(credentials, name, None)
        except Exception:  # noqa: BLE001, S112  # some ask the network for it: then it is not known here
            continue
        if isinstance(email, str) and "@" in email:
            return email
    return f"{type(credentials).__module__.rpartition('.')[2].strip('_')} {type(credentials).__name__}"
