from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from strongroom.deadlines import Deadline
from strongroom.errors import PermissionDeniedError, SecretNotFoundError, show_key
from strongroom.keys import check_key, check_prefix, is_reserved
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion

from strongroom_aws.connection import Connection
from strongroom_aws.names import Name, description_of
from strongroom_aws.parameter_names import folder_of, is_hashed, parameter_key_of, parameter_name_of
from strongroom_aws.payload import decode, encode

__all__ = ["AWSParameterProvider"]

_LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
_BATCH = 10
_HISTORY_PAGE = 50


class AWSParameterProvider(BaseProvider):
    """Secrets as `SecureString` parameters in AWS Systems Manager's Parameter Store; `a/b` is `/a/b`.

    The service numbers versions and keeps the last hundred. It has no conditional write and no staging, so
    the provider has neither.

    Args:
        region_name: Region; by default the SDK's own chain tells it.
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
        verify: Check certificates; a path names the CA's file.
        timeout: Seconds for one get, set, delete or page, retries included.
        deadline: Seconds for a whole list or batch.
        max_connections: Connections that are kept.
    """

    type_name = "aws.parameters"

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
        verify: bool | str | Path = True,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_connections: int = 16,
    ) -> None:
        self._tier = tier
        self._kms = kms_key_id
        self._whole = deadline
        self._connection = Connection(
            "ssm",
            self.type_name,
            timeout,
            {
                "region_name": region_name,
                "endpoint_url": endpoint_url,
                "profile_name": profile_name,
                "access_key_id": access_key_id,
                "secret_access_key": secret_access_key,
                "session_token": session_token,
                "role_arn": role_arn,
                "role_session_name": role_session_name,
                "external_id": external_id,
                "sts_endpoint_url": sts_endpoint_url,
                "verify": verify,
                "max_connections": max_connections,
            },
        )

    def get_secret(self, key: str) -> str:
        name = parameter_name_of(check_key(key))
        return self._value(key, name, name.text, self._connection.deadline())

    def get_secret_version(self, key: str, version: str) -> str:
        name = parameter_name_of(check_key(key))
        if not (version.isascii() and version.isdigit() and int(version[:18]) > 0):
            raise self._no_version(key)
        return self._value(key, name, f"{name.text}:{version}", self._connection.deadline())

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(check_key(key) for key in keys))
        whole = Deadline(self._whole)
        plain = {parameter_name_of(key).text: key for key in asked if not parameter_name_of(key).hashed}
        names = list(plain)
        found: dict[str, str] = {}
        for start in range(0, len(names), _BATCH):
            answer = self._call(
                "get_parameters",
                "reading a batch",
                self._connection.deadline(whole),
                Names=names[start : start + _BATCH],
                WithDecryption=True,
            )
            for one in answer.get("Parameters") or ():
                key = plain[one["Name"]]
                found[key] = decode(one["Value"], key, self.type_name)
        for key in asked:
            if parameter_name_of(key).hashed:
                try:
                    found[key] = self.get_secret(key)
                except SecretNotFoundError:
                    continue
        return {key: found[key] for key in asked if key in found}

    def set_secret(self, key: str, value: str) -> None:
        text = encode(value, check_key(key), _LIMITS[self._tier], self.type_name, braces=False)
        name = parameter_name_of(key)
        asked: dict[str, Any] = {
            "Name": name.text,
            "Value": text,
            "Type": "SecureString",
            "Tier": self._tier,
            "Overwrite": True,
        }
        if name.hashed:
            asked["Description"] = description_of(key)
        if self._kms is not None:
            asked["KeyId"] = self._kms
        deadline = self._connection.deadline()
        self._call("put_parameter", "writing", deadline, key=key, hidden=text, **asked)

    def delete_secret(self, key: str) -> None:
        name = parameter_name_of(check_key(key))
        deadline = self._connection.deadline()
        if name.hashed:
            self._described(key, name, deadline)
        self._call("delete_parameter", "deleting", deadline, key=key, Name=name.text)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        whole = Deadline(self._whole)
        folder = folder_of(prefix.rpartition("/")[0])
        found = set()
        for name in self._names(folder, whole):
            told = self._description(name, whole) if is_hashed(name) else None
            key = parameter_key_of(name, told)
            if key is not None and key.startswith(prefix) and not is_reserved(key):
                found.add(key)
        return sorted(found)

    def describe_secret(self, key: str) -> SecretMetadata:
        name = parameter_name_of(check_key(key))
        told = self._described(key, name, self._connection.deadline())
        return SecretMetadata(key, str(told["Version"]), None, told.get("LastModifiedDate"), {})

    def list_versions(self, key: str) -> list[SecretVersion]:
        name = parameter_name_of(check_key(key))
        deadline = self._connection.deadline()
        if name.hashed:
            self._described(key, name, deadline)
        asked: dict[str, Any] = {"Name": name.text, "MaxResults": _HISTORY_PAGE}
        rows: list[dict[str, Any]] = []
        while True:
            page = self._call("get_parameter_history", "listing versions of", deadline, key=key, **asked)
            rows += page.get("Parameters") or ()
            if not page.get("NextToken"):
                break
            asked["NextToken"] = page["NextToken"]
        if not rows:
            raise SecretNotFoundError(key, provider=self.type_name)
        rows.sort(key=lambda row: int(row["Version"]), reverse=True)
        return [
            SecretVersion(
                str(row["Version"]), row.get("LastModifiedDate"), "previous" if place else "current"
            )
            for place, row in enumerate(rows)
        ]

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity` and `can_list`, or raise our errors."""
        try:
            asked = {"Path": "/", "MaxResults": 1}
            self._call("get_parameters_by_path", "listing parameters", self._connection.deadline(), **asked)
            can_list = "yes"
        except PermissionDeniedError:
            can_list = "no"
        return {"reachable": "yes", "identity": self._connection.identity(), "can_list": can_list}

    def close(self) -> None:
        self._connection.close()

    def _call(self, operation: str, doing: str, deadline: Deadline, **more: Any) -> Any:
        return self._connection.call(operation, doing, deadline, **more)

    def _value(self, key: str, name: Name, asked: str, deadline: Deadline) -> str:
        if name.hashed:
            self._described(key, name, deadline)
        answer = self._call("get_parameter", "reading", deadline, key=key, Name=asked, WithDecryption=True)
        return decode(answer["Parameter"]["Value"], key, self.type_name)

    def _described(self, key: str, name: Name, deadline: Deadline) -> dict[str, Any]:
        told = self._metadata(name.text, deadline)
        if told is None or (name.hashed and parameter_key_of(name.text, told.get("Description")) != key):
            raise SecretNotFoundError(key, provider=self.type_name)
        return told

    def _description(self, name: str, whole: Deadline) -> str | None:
        told = self._metadata(name, self._connection.deadline(whole))
        return told.get("Description") if told is not None else None

    def _metadata(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        filters = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
        answer = self._call("describe_parameters", "looking at", deadline, ParameterFilters=filters)
        found = answer.get("Parameters") or ()
        return next((one for one in found if one["Name"] == name), None)

    def _names(self, folder: str, whole: Deadline) -> Iterator[str]:
        asked: dict[str, Any] = {"Path": folder, "Recursive": True, "MaxResults": _BATCH}
        while True:
            deadline = self._connection.deadline(whole)
            page = self._call("get_parameters_by_path", "listing parameters", deadline, **asked)
            yield from (one["Name"] for one in page.get("Parameters") or ())
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]

    def _no_version(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(
            key, f"secret {show_key(key)} has no such version", provider=self.type_name
        )
