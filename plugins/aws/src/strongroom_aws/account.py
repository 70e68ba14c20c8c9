"""The account: options of both services, and boto3's sessions and clients for them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from strongroom.deadlines import check_limits
from strongroom.errors import ConfigurationError
from strongroom.plugins.credentials import newest

__all__ = ["Account", "client_of", "session_of"]

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


@dataclass(frozen=True, slots=True)
class Account:
    """The options that both providers have; they are described in `config`."""

    region_name: str | None = None
    endpoint_url: str | None = None
    profile_name: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    role_session_name: str = "strongroom"
    external_id: str | None = field(default=None, repr=False)
    sts_endpoint_url: str | None = None
    verify: bool | str | Path | None = None
    timeout: float = 10.0
    max_connections: int = 16

    def check(self, provider: str, deadline: float | None) -> None:
        """Raise `ConfigurationError` for options that do not go together, or limits that make no sense."""
        counts = {"max_connections": self.max_connections}
        check_limits(provider, timeout=self.timeout, deadline=deadline, counts=counts)
        problem = self.problem()
        if problem is not None:
            raise ConfigurationError(
                problem, provider=provider, hint="give both, or neither and use the SDK's own chain"
            )
        for name in ("endpoint_url", "sts_endpoint_url"):
            url = getattr(self, name)
            if url and not _is_address(url):  # not shown: there may be a password in it
                raise ConfigurationError(
                    f"{name} is not an address of a service",
                    provider=provider,
                    hint="write https://HOST or http://HOST:PORT, without a login",
                )

    def problem(self) -> str | None:
        """Return which options do not go together; None if all do."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            return "access_key_id and secret_access_key belong together"
        if self.access_key_id is not None and not (self.access_key_id and self.secret_access_key):
            # The SDK would take empty ones for none, and use the login that its own chain finds.
            return "access_key_id and secret_access_key must not be empty"
        if self.session_token is not None and self.access_key_id is None:
            return "session_token belongs to an access_key_id and a secret_access_key"
        if self.external_id is not None and self.role_arn is None:
            return "external_id belongs to a role_arn"
        return None

    def newest(self) -> Account:
        """Return the account with the present values of its references."""
        return Account(**{one.name: newest(getattr(self, one.name)) for one in fields(self)})

    @property
    def account_of_role(self) -> str | None:
        """The account that the role belongs to; None without a role."""
        parts = (self.role_arn or "").split(":")
        return parts[4] if len(parts) > 4 and parts[4] else None  # noqa: PLR2004  # arn:partition:iam::ACCOUNT:role/…

    @property
    def sts_address(self) -> str | None:
        """The address of STS: as given, of the same emulator, or AWS's own."""
        if self.sts_endpoint_url is not None or self.endpoint_url is None:
            return self.sts_endpoint_url
        host = urlsplit(self.endpoint_url).hostname or ""
        return None if host.endswith(_AWS_DOMAINS) else self.endpoint_url


def session_of(account: Account) -> Any:
    """Return boto3's session for `account`, with its role assumed at the first request."""
    import boto3

    session: Any = boto3.Session(
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret_access_key,
        aws_session_token=account.session_token,
        region_name=account.region_name,
        profile_name=account.profile_name,
        botocore_session=_inner(account),
    )
    return session if account.role_arn is None else _assumed(session, account)


def client_of(session: Any, service: str, account: Account) -> Any:
    """Return boto3's client of a service; it does not retry, because the caller knows the deadline."""
    from botocore.config import Config

    config = Config(
        connect_timeout=account.timeout,
        read_timeout=account.timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=account.max_connections,
        user_agent_extra="strongroom",
    )
    verify = account.verify
    return session.client(
        service,
        endpoint_url=account.sts_address if service == "sts" else account.endpoint_url,
        config=config,
        verify=str(verify) if isinstance(verify, Path) else verify,
    )


def _inner(account: Account) -> Any:
    import botocore.session

    complete = account.access_key_id is not None and account.region_name is not None
    if complete and account.profile_name is None:
        # Nothing is left to ask a profile for, and an AWS_PROFILE that does not exist must not matter.
        return botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return botocore.session.get_session()


def _assumed(session: Any, account: Account) -> Any:
    """Return a session with a role's credentials, which botocore renews before they expire."""
    import boto3
    from botocore.credentials import DeferredRefreshableCredentials

    request = {"RoleArn": account.role_arn, "RoleSessionName": account.role_session_name}
    if account.external_id is not None:
        request["ExternalId"] = account.external_id

    def renew() -> dict[str, str]:
        with contextlib.closing(client_of(session, "sts", account)) as sts:
            credentials = sts.assume_role(**request)["Credentials"]
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }

    inner = _inner(account)
    inner._credentials = DeferredRefreshableCredentials(renew, "assume-role")  # noqa: SLF001  # botocore has no other way in
    return boto3.Session(
        botocore_session=inner, region_name=session.region_name, profile_name=account.profile_name
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_place = parts.hostname is not None and parts.port != 0
    except ValueError:
        return False
    return has_place and parts.scheme in {"http", "https"} and "@" not in url
