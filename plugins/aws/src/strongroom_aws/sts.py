"""Temporary credentials of AWS roles, from the Security Token Service."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from strongroom.errors import BackendUnavailableError, ConfigurationError, UnsupportedOperationError
from strongroom.keys import check_key, visible_keys
from strongroom.leases import LeasingProvider
from strongroom.providers import Lease

from strongroom_aws.account import Account
from strongroom_aws.connection import AwsClient

__all__ = ["AWSRoleProvider"]

_DURATIONS: Final = range(900, 43_201)


class AWSRoleProvider(LeasingProvider):
    """The credentials of roles: the key is a role's name in `roles`, the values its temporary credentials.

    Values are `access_key_id`, `secret_access_key` and `session_token`. They cannot be renewed or revoked:
    they are replaced by others before they end.

    Args:
        region_name: Region; by default from the SDK's own chain.
        roles: The ARN of each role, by name.
        duration_seconds: How long credentials live, 900 to 43,200; by default as long as the service gives.
        endpoint_url: Address of STS: a VPC endpoint, an emulator.
        role_session_name: Name of the sessions in CloudTrail.
        external_id: External id that the roles ask for.

    The other options are those of `AWSSecretProvider`.

    Raises:
        ConfigurationError: There are no roles, or an option is out of bounds.
    """

    type_name: ClassVar[str] = "aws.sts"
    revocable: ClassVar[bool] = False

    def __init__(
        self,
        region_name: str | None = None,
        *,
        roles: Mapping[str, str],
        duration_seconds: int | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        role_session_name: str = "strongroom",
        external_id: str | None = None,
        verify: bool | str | Path | None = None,
        timeout: float = 10.0,
        max_connections: int = 16,
    ) -> None:
        if not roles:
            raise ConfigurationError(
                "aws.sts: there are no roles", provider=self.type_name, hint="roles: {name: arn}"
            )
        if duration_seconds is not None and duration_seconds not in _DURATIONS:
            raise ConfigurationError(
                f"duration_seconds must be {_DURATIONS[0]} to {_DURATIONS[-1]}, got {duration_seconds}",
                provider=self.type_name,
            )
        account = Account(
            region_name=region_name,
            profile_name=profile_name,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
            sts_endpoint_url=endpoint_url,
            verify=verify,
            timeout=timeout,
            max_connections=max_connections,
        )
        account.check(self.type_name, None)
        self._roles = {check_key(name): arn for name, arn in roles.items()}
        self._asked: dict[str, Any] = {"RoleSessionName": role_session_name}
        if duration_seconds is not None:
            self._asked["DurationSeconds"] = duration_seconds
        if external_id is not None:
            self._asked["ExternalId"] = external_id
        self._connection = AwsClient("sts", self.type_name, account)

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant; the account is that of the roles."""
        return {"roles": self._roles}

    def __repr__(self) -> str:
        return f"<AWSRoleProvider of {len(self._roles)} roles>"

    def issue_lease(self, key: str) -> Lease:
        role = self._roles.get(check_key(key))
        if role is None:
            raise self.not_found(key)
        now = datetime.now(UTC)
        answer = self._connection.call(
            "assume_role",
            "assuming a role",
            self._connection.deadline(),
            key=key,
            RoleArn=role,
            **self._asked,
        )
        try:
            credentials = answer["Credentials"]
            values = {
                "access_key_id": credentials["AccessKeyId"],
                "secret_access_key": credentials["SecretAccessKey"],
                "session_token": credentials["SessionToken"],
            }
            ends = credentials["Expiration"].astimezone(UTC)
        except (KeyError, TypeError, AttributeError):
            values = None
        if values is None or not all(isinstance(one, str) and one for one in values.values()):
            raise BackendUnavailableError(
                "aws.sts: the answer has no credentials", key=key, provider=self.type_name
            )
        # The ledger and `repr` show the id, and no value; the service has no other name for what it issued.
        digest = hashlib.sha256(values["access_key_id"].encode()).hexdigest()
        return Lease(f"{key}/{digest[:24]}", key, values, now, ends, False)

    def renew_lease(self, lease: Lease) -> Lease:
        self._unsupported(lease, "renewed")

    def revoke_lease(self, lease: Lease) -> None:
        self._unsupported(lease, "revoked")

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return the names of the roles."""
        return visible_keys(self._roles, prefix)

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity` and `can_list`, by one request to STS, or raise our errors.

        Whether the roles may be assumed is not tried: each try would issue credentials.
        """
        identity = self._connection.identity(self._connection.deadline())
        return {"reachable": "yes", "identity": identity, "can_list": f"yes, {len(self._roles)} keys"}

    def close(self) -> None:
        super().close()
        self._connection.close()

    def _unsupported(self, lease: Lease, what: str) -> NoReturn:
        raise UnsupportedOperationError(
            f"aws.sts: credentials of a role cannot be {what}: they end by themselves",
            key=lease.key,
            provider=self.type_name,
        )
