"""HTTP sessions that send the login of the options, and never one of a `.netrc`.

The library `requests` looks into that file for each request without a login of its own, and again after a
redirect. Then Google would get somebody's name and password, and no token.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import requests
from google.auth.credentials import Credentials, CredentialsWithQuotaProject, with_scopes_if_required
from google.auth.transport.requests import Request
from google.oauth2 import service_account

__all__ = ["ignore_netrc", "without_netrc"]


def ignore_netrc(session: requests.Session) -> None:
    """Let a session take no login of a `.netrc`; proxies and CAs it takes from the environment as before."""
    session.auth = _unchanged
    session.rebuild_auth = partial(_only_forget, session)  # type: ignore[method-assign]  # of this session alone


def without_netrc(credentials: Any, scopes: Any, default_scopes: Any, quota_project_id: str | None) -> Any:
    """Return `credentials` for gRPC, which makes a session of its own for their tokens.

    Those of a service account are returned unchanged: they sign their tokens themselves.
    """
    scoped = with_scopes_if_required(credentials, scopes, default_scopes=default_scopes)  # type: ignore[no-untyped-call]  # google-auth has no types for it
    if quota_project_id and isinstance(scoped, CredentialsWithQuotaProject):
        scoped = scoped.with_quota_project(quota_project_id)  # type: ignore[no-untyped-call]  # as above
    return scoped if isinstance(scoped, service_account.Credentials) else _OverOwnSession(scoped)


class _OverOwnSession(Credentials):
    """Credentials that get their tokens over a session without a `.netrc`."""

    def __init__(self, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self._inner = inner
        session = requests.Session()
        ignore_netrc(session)
        self._request = Request(session)

    def refresh(self, request: Any) -> None:  # noqa: ARG002  # gRPC has made it, over a session of its own
        """Get a new token."""
        self._inner.refresh(self._request)

    def before_request(self, request: Any, method: Any, url: Any, headers: Any) -> None:  # noqa: ARG002  # as above
        """Put the login into `headers`, as the SDK asks for it before each call."""
        self._inner.before_request(self._request, method, url, headers)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _only_forget(
    session: requests.Session, request: requests.PreparedRequest, response: requests.Response
) -> None:
    """Take the login away from a request that a redirect has led to another host."""
    asked, now = response.request.url, request.url
    if asked is not None and now is not None and session.should_strip_auth(asked, now):
        request.headers.pop("Authorization", None)
