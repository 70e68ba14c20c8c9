"""The findings of `strongroom doctor` about a vault."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from strongroom.clients import parse_http_date
from strongroom.deadlines import Deadline
from strongroom.errors import PermissionDeniedError

from strongroom_azure.service import KeyVault, check_complete

_CLAIMS = ("upn", "unique_name", "xms_mirid", "appid", "azp", "oid", "sub")
"""Members of a token that identify its owner, the best first."""


class _Seen:
    """Notes, during an exchange, who is logged in, and the time of the service."""

    def __init__(self) -> None:
        self.identity = "unknown: the token does not say"
        self.skew: float | None = None

    def __call__(self, exchange: Any) -> None:
        check_complete(exchange)  # a hook of a call replaces the client's
        self.identity = identity(exchange.http_request.headers.get("Authorization", "")) or self.identity
        date = parse_http_date(exchange.http_response.headers.get("Date"))
        self.skew = None if date is None else date.timestamp() - time.time()


def diagnose(service: KeyVault, deadline: Deadline) -> dict[str, str]:
    """Return who is logged in and what works, by one page of the list; the token itself is never shown."""
    headers = _Seen()
    pages = service.client.list_properties_of_secrets(max_page_size=1, raw_response_hook=headers).by_page()
    try:
        service.call(lambda: next(pages, None), deadline, doing="listing secrets")
        can_list = "yes"
    except PermissionDeniedError:
        # The service knows the caller and answers: those who only read by name need no more.
        can_list = "no"
    report = {"reachable": "yes", "identity": headers.identity, "can_list": can_list}
    return report if headers.skew is None else {**report, "clock_skew": str(round(headers.skew))}


def identity(authorization: str) -> str | None:
    """Return the owner of the token in a header `Authorization`, as far as it can be read."""
    parts = authorization.removeprefix("Bearer ").split(".")
    if len(parts) != 3:  # noqa: PLR2004  # a JWT: header, claims, signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    found = (claims.get(name) for name in _CLAIMS) if isinstance(claims, dict) else ()
    return next((text for text in found if isinstance(text, str) and text), None)
