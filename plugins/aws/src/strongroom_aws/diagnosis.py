"""The findings of `strongroom doctor` about an account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from strongroom.clients import parse_http_date
from strongroom.errors import BackendUnavailableError, PermissionDeniedError

from strongroom_aws.connection import AwsClient


def diagnose(connection: AwsClient, listing: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return who is logged in and what works, by one page of a list and one request to STS."""
    deadline = connection.deadline()
    report = {"reachable": "yes"}
    date = None
    before = time.time()
    try:
        answer = connection.call(listing, "listing", deadline, **parameters)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        can_list = "yes"
    except PermissionDeniedError:
        # The service knows the caller: those who only read by name need no more.
        can_list = "no"
    after = time.time()
    try:
        report["identity"] = connection.identity(deadline)
    except BackendUnavailableError:
        report["identity"] = "unknown: STS is not reached, see sts_endpoint_url"
    report["can_list"] = can_list
    there = parse_http_date(date)
    if there is not None:
        # The header counts whole seconds.
        report["clock_skew"] = f"{there.timestamp() + 0.5 - (before + after) / 2:.0f}"
    return report
