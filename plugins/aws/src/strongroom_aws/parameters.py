"""Secrets in AWS Systems Manager's Parameter Store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from strongroom.clients import check_answer
from strongroom.deadlines import Deadline
from strongroom.errors import ConfigurationError, SecretNotFoundError, show_key
from strongroom.keys import Name, cannot_start_key, check_key, check_keys, check_prefix, visible_keys
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion, version_is_enough

from strongroom_aws.account import Account
from strongroom_aws.batches import read_in_batches
from strongroom_aws.connection import AwsClient
from strongroom_aws.names import description_of
from strongroom_aws.outcomes import Outcome, Refusal
from strongroom_aws.parameter_names import folder_of, is_hashed, parameter_key_of, parameter_name_of
from strongroom_aws.payload import decode, encode
from strongroom_aws.versions import in_utc

__all__ = ["AWSParameterProvider"]

_LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
_BATCH = 10
_HISTORY_PAGE = 50
_PARALLEL = 8
_LONGEST_VERSION = 18
"""Digits; the service refuses a number of more than 63 bits as malformed."""


class AWSParameterProvider(BaseProvider):
    """Secrets as `SecureString` parameters in AWS Systems Manager's Parameter Store; `a/b` is `/a/b`.

    The service numbers versions and keeps the last hundred. It has no conditional write and no staging, so
    the provider has neither.

    Args:
        region_name: Region; by default from the SDK's own chain.
        endpoint_url: Address of the service.
        profile_name: Profile of `~/.aws/config`.
        kms_key_id: KMS key that encrypts what is written here.
        tier: `Standard` holds 4,096 bytes, `Advanced` and `Intelligent-Tiering` 8,192.
        access_key_id: Access key; by default the SDK's standard chain.
        secret_access_key: The access key's secret.
        session_token: Token of temporary credentials.
        role_arn: Role to assume with those credentials.
        role_session_name: Name of the role's session in CloudTrail.
        external_id: External id that the role asks for.
        sts_endpoint_url: Address of STS.
        verify: Whether to check certificates; a path names the CA's file; by default the SDK's own chain.
        timeout: Seconds for one get, set, delete or page, retries included.
        deadline: Seconds for a whole list or batch.
        max_connections: Connections that are kept open.

    Raises:
        ConfigurationError: Options that do not go together, or a tier that does not exist.
    """

    type_name: ClassVar[str] = "aws.parameters"
    counts_again: ClassVar[bool] = True

    def __init__(
        self,
        region_name: str | None = None,
        *,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        kms_key_id: str | None = None,
        tier: str = "Standard",
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        role_arn: str | None = None,
        role_session_name: str = "strongroom",
        external_id: str | None = None,
        sts_endpoint_url: str | None = None,
        verify: bool | str | Path | None = None,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_connections: int = 16,
    ) -> None:
        account = Account(
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
            role_arn=role_arn,
            role_session_name=role_session_name,
            external_id=external_id,
            sts_endpoint_url=sts_endpoint_url,
            verify=verify,
            timeout=timeout,
            max_connections=max_connections,
        )
        account.check(self.type_name, deadline)
        if tier not in _LIMITS:
            raise ConfigurationError(
                f"there is no tier {tier!r}", provider=self.type_name, hint=f"one of {', '.join(_LIMITS)}"
            )
        self._connection = AwsClient("ssm", self.type_name, account)
        self._written: dict[str, Any] = {"Type": "SecureString", "Tier": tier, "Overwrite": True}
        if kms_key_id is not None:
            self._written["KeyId"] = kms_key_id
        self._limit = _LIMITS[tier]
        self._whole = deadline
        self._workers = min(_PARALLEL, max_connections)

    def address(self) -> dict[str, str]:
        """Return nothing; `account` identifies the service."""
        return {}

    def account(self) -> str:
        """Return account, region and address of the service; STS is asked who is logged in."""
        return self._connection.account()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.shown()}>"

    def get_secret(self, key: str) -> str:
        name = parameter_name_of(check_key(key))
        return self._value(key, name, name.text, self._connection.deadline())

    def get_secret_version(self, key: str, version: str) -> str:
        name = parameter_name_of(check_key(key))
        if not (
            isinstance(version, str)
            and version.isascii()
            and version.isdigit()
            and len(version) <= _LONGEST_VERSION
            and int(version) > 0
        ):
            raise self._no_version(key)
        return self._value(key, name, f"{name.text}:{version}", self._connection.deadline())

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = check_keys(keys)
        whole = Deadline(self._whole)
        return read_in_batches(
            asked,
            lambda part: self._batch(part, whole),
            lambda key: self._value_if_any(key, whole),
            alone=lambda key: parameter_name_of(key).hashed,
            size=_BATCH,
            workers=self._workers,
        )

    def set_secret(self, key: str, value: str) -> None:
        text = encode(value, check_key(key), self._limit, self.type_name, braces=False)
        name = parameter_name_of(key)
        described = {"Description": description_of(key)} if name.hashed else {}
        self._call(
            "put_parameter",
            "writing",
            self._connection.deadline(),
            key=key,
            hidden=text,
            # The service has no client token: twice would put back what somebody else has replaced since.
            repeatable=False,
            Name=name.text,
            Value=text,
            **self._written,
            **described,
        )

    def delete_secret(self, key: str) -> None:
        name = parameter_name_of(check_key(key))
        deadline = self._connection.deadline()
        if name.hashed:
            self._described(key, name, deadline)
        self._call("delete_parameter", "deleting", deadline, key=key, repeatable=False, Name=name.text)

    def list_secrets(self, prefix: str = "") -> list[str]:
        if cannot_start_key(check_prefix(prefix)):
            return []  # not asked for: the service refuses such a path
        whole = Deadline(self._whole)
        folder = folder_of(prefix.rpartition("/")[0])
        keys = (
            parameter_key_of(name, self._description(name, whole) if is_hashed(name) else None)
            for name in self._names(folder, whole)
        )
        return visible_keys(keys, prefix)

    def describe_secret(self, key: str) -> SecretMetadata:
        name = parameter_name_of(check_key(key))
        deadline = self._connection.deadline()
        if name.hashed:
            self._described(key, name, deadline)
        # Without decryption: neither the value nor the permission to use the KMS key is asked for.
        parameter = self._call("get_parameter", "looking at", deadline, key=key, Name=name.text)["Parameter"]
        return SecretMetadata(
            key,
            str(parameter["Version"]),
            None,
            in_utc(parameter.get("LastModifiedDate")),
            {} if version_is_enough() else self._tags(key, name, deadline),
        )

    def _tags(self, key: str, name: Name, deadline: Deadline) -> dict[str, str]:
        answer = self._call(
            "list_tags_for_resource",
            "reading the tags of",
            deadline,
            key=key,
            ResourceType="Parameter",
            ResourceId=name.text,
        )
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagList") or ()}

    def list_versions(self, key: str) -> list[SecretVersion]:
        name = parameter_name_of(check_key(key))
        deadline = self._connection.deadline()
        if name.hashed:
            self._described(key, name, deadline)
        request: dict[str, Any] = {"Name": name.text, "MaxResults": _HISTORY_PAGE}
        rows: list[dict[str, Any]] = []
        while True:
            page = self._call("get_parameter_history", "listing versions of", deadline, key=key, **request)
            rows += page.get("Parameters") or ()
            if not page.get("NextToken"):
                break
            request["NextToken"] = page["NextToken"]
        if not rows:
            raise SecretNotFoundError(key, provider=self.type_name)
        rows.sort(key=lambda row: int(row["Version"]), reverse=True)
        return [
            SecretVersion(
                str(row["Version"]), in_utc(row.get("LastModifiedDate")), "previous" if place else "current"
            )
            for place, row in enumerate(rows)
        ]

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity`, `can_list` and `clock_skew`, or raise our errors."""
        from strongroom_aws.diagnosis import diagnose

        return diagnose(self._connection, "get_parameters_by_path", {"Path": "/", "MaxResults": 1})

    def close(self) -> None:
        self._connection.close()

    def _call(self, operation: str, doing: str, deadline: Deadline, **more: Any) -> Any:
        return self._connection.call(operation, doing, deadline, **more)

    def _value(self, key: str, name: Name, asked: str, deadline: Deadline) -> str:
        if name.hashed:
            self._described(key, name, deadline)
        answer = self._call("get_parameter", "reading", deadline, key=key, Name=asked, WithDecryption=True)
        # A version is asked for as part of the name.
        named = answer["Parameter"].get("Name")
        check_answer(self.type_name, key, name.text, named and named.partition(":")[0])
        return decode(answer["Parameter"]["Value"], key, self.type_name)

    def _value_if_any(self, key: str, whole: Deadline) -> str | None:
        name = parameter_name_of(key)
        try:
            return self._value(key, name, name.text, self._connection.deadline(whole))
        except SecretNotFoundError:
            return None

    def _batch(self, keys: Sequence[str], whole: Deadline) -> tuple[dict[str, str], list[str]]:
        """Return the values that one batch has, and the keys that have to be read one by one."""
        by_name = {parameter_name_of(key).text: key for key in keys}
        answer = self._call(
            "get_parameters",
            "reading a batch",
            self._connection.deadline(whole),
            accept={Outcome.DENIED},
            Names=list(by_name),
            WithDecryption=True,
        )
        if isinstance(answer, Refusal):
            return {}, list(keys)  # denied for one of them, or for batches: each is asked for by itself
        read = {one["Name"]: one["Value"] for one in answer.get("Parameters") or ()}
        for name in read:
            if name not in by_name:
                check_answer(self.type_name, keys[0], parameter_name_of(keys[0]).text, name)
        return {by_name[name]: decode(text, by_name[name], self.type_name) for name, text in read.items()}, []

    def _described(self, key: str, name: Name, deadline: Deadline) -> dict[str, Any]:
        metadata = self._metadata(name.text, deadline)
        if metadata is None or (
            name.hashed and parameter_key_of(name.text, metadata.get("Description")) != key
        ):
            raise SecretNotFoundError(key, provider=self.type_name)
        return metadata

    def _description(self, name: str, whole: Deadline) -> str | None:
        metadata = self._metadata(name, self._connection.deadline(whole))
        return metadata.get("Description") if metadata is not None else None

    def _metadata(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        request: dict[str, Any] = {
            "ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [name]}]
        }
        while True:
            page = self._call("describe_parameters", "looking at", deadline, **request)
            found = next((one for one in page.get("Parameters") or () if one["Name"] == name), None)
            # The service gives pages of nothing, too, before the one with the parameter.
            if found is not None or not page.get("NextToken"):
                return found
            request["NextToken"] = page["NextToken"]

    def _names(self, folder: str, whole: Deadline) -> Iterator[str]:
        request: dict[str, Any] = {"Path": folder, "Recursive": True, "MaxResults": _BATCH}
        while True:
            deadline = self._connection.deadline(whole)
            page = self._call("get_parameters_by_path", "listing parameters", deadline, **request)
            yield from (one["Name"] for one in page.get("Parameters") or ())
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]

    def _no_version(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(
            key, f"secret {show_key(key)} has no such version", provider=self.type_name
        )
