from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    show_key,
)
from strongroom.keys import check_key, check_prefix, is_reserved
from strongroom.parallel import in_parallel
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion

from strongroom_aws.connection import Connection
from strongroom_aws.labels import CURRENT, PENDING, current_of, listed, newest_first
from strongroom_aws.names import description_of, key_of, name_filter, name_of
from strongroom_aws.payload import binary, decode, encode

__all__ = ["MAX_VALUE_BYTES", "AWSSecretProvider"]

MAX_VALUE_BYTES = 65_536
"""The longest value, in bytes of UTF-8, as Secrets Manager's quotas say."""

_BATCH = 20
_PAGE = 100
_PARALLEL = 8
_SERVICE = "secretsmanager"


class AWSSecretProvider(BaseProvider):
    """Secrets in AWS Secrets Manager, with every capability.

    Making one does no I/O. Staging labels are always named: a read asks for `AWSCURRENT`, a conditional write
    moves that label from the version expected, which the service does for one caller only.

    Args:
        region_name: Region; by default the SDK's own chain tells it.
        endpoint_url: Address of the service: a VPC endpoint, an emulator.
        profile_name: Profile of `~/.aws/config`.
        recovery_window_days: Days in which a deleted secret can be restored, 7 to 30; AWS's default is 30.
        force_delete: Delete at once, with no way back.
        kms_key_id: KMS key that encrypts what is created here.
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

    Raises:
        ConfigurationError: Options that do not go together.
    """

    type_name = "aws"

    def __init__(
        self,
        region_name: str | None = None,
        *,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        recovery_window_days: int | None = None,
        force_delete: bool = False,
        kms_key_id: str | None = None,
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
        if force_delete and recovery_window_days is not None:
            raise ConfigurationError(
                "either force_delete or recovery_window_days, not both", provider=self.type_name
            )
        self._force = force_delete
        self._window = recovery_window_days
        self._kms = kms_key_id
        self._whole = deadline
        self._connection = Connection(
            _SERVICE,
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

    # --- reading ---

    def get_secret(self, key: str) -> str:
        return self._value(check_key(key), self._connection.deadline(), {"VersionStage": CURRENT})

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        if not _is_version(version):
            raise _no_version(key)
        return self._value(key, self._connection.deadline(), {"VersionId": version})

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(check_key(key) for key in keys))
        whole = Deadline(self._whole)
        plain = {name_of(key).text: key for key in asked if not name_of(key).hashed}
        alone = [key for key in asked if name_of(key).hashed]
        names = list(plain)
        found: dict[str, str] = {}
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            values, left = self._batch({name: plain[name] for name in part}, whole)
            found |= values
            alone += left
        found |= self._one_by_one(alone, whole)
        return {key: found[key] for key in asked if key in found}

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        whole = Deadline(self._whole)
        found = set()
        for one in self._secrets(name_filter(prefix) if prefix else [], whole):
            key = key_of(one["Name"], one.get("Description"))
            if key is not None and key.startswith(prefix) and not is_reserved(key) and listed(one):
                found.add(key)
        return sorted(found)

    def describe_secret(self, key: str) -> SecretMetadata:
        deadline = self._connection.deadline()
        told = self._described(check_key(key), deadline)
        version = current_of(told.get("VersionIdsToStages") or {})
        if version is None:
            raise SecretNotFoundError(key, provider=self.type_name)
        versions = self._versions(key, deadline)
        updated = next((one["CreatedDate"] for one in versions if one["VersionId"] == version), None)
        tags = {tag["Key"]: tag["Value"] for tag in told.get("Tags") or ()}
        return SecretMetadata(key, version, told.get("CreatedDate"), updated, tags)

    def list_versions(self, key: str) -> list[SecretVersion]:
        deadline = self._connection.deadline()
        self._described(check_key(key), deadline)
        return newest_first(self._versions(key, deadline))

    # --- writing ---

    def set_secret(self, key: str, value: str) -> None:
        text = encode(value, check_key(key), MAX_VALUE_BYTES, self.type_name)
        deadline = self._connection.deadline()
        if self._put(key, text, [CURRENT], deadline) is not None:
            return
        # Where it cannot be created either, somebody else has just done that.
        if self._create(key, text, deadline) is None and self._put(key, text, [CURRENT], deadline) is None:
            raise self._unsteady(key)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            encode(value, check_key(key), MAX_VALUE_BYTES, self.type_name)
        for key, value in values.items():
            self.set_secret(key, value)

    def delete_secret(self, key: str) -> None:
        deadline = self._connection.deadline()
        told = self._described(check_key(key), deadline)  # AWS deletes what is not there without a word
        if current_of(told.get("VersionIdsToStages") or {CURRENT: [CURRENT]}) is None:
            raise SecretNotFoundError(key, provider=self.type_name)
        self._delete(key, deadline)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        text = encode(value, check_key(key), MAX_VALUE_BYTES, self.type_name)
        deadline = self._connection.deadline()
        if expected_version is None:
            created = self._create(key, text, deadline)
            if created is not None:
                return created
            told = self._described(key, deadline, deleted_too=True)
            if told.get("DeletedDate") is not None:
                self._restore(key, deadline)
                expected_version = current_of(told.get("VersionIdsToStages") or {})
            elif current_of(told.get("VersionIdsToStages") or {}) is not None:
                raise _conflict(key, "it is there already")
        # A label of this call keeps the new version from vanishing until AWSCURRENT is moved to it.
        label = f"strongroom-{uuid.uuid4()}"
        version = self._put(key, text, [label], deadline, restore=False)
        if version is None:
            raise _conflict(key, "it is not there")
        try:
            self._move(key, version, expected_version, deadline)
        finally:
            self._unlabel(key, version, label, deadline)
        return version

    def stage_secret(self, key: str, value: str) -> str:
        text = encode(value, check_key(key), MAX_VALUE_BYTES, self.type_name)
        deadline = self._connection.deadline()
        version = self._put(key, text, [PENDING], deadline)
        if version is None:
            self._create(key, None, deadline)
            version = self._put(key, text, [PENDING], deadline)
        if version is None:
            raise self._unsteady(key)
        return version

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        deadline = self._connection.deadline()
        self._require_pending(check_key(key), version, deadline)
        self._move(key, version, expected_version, deadline)
        self._unlabel(key, version, PENDING, deadline)

    def discard_version(self, key: str, version: str) -> None:
        deadline = self._connection.deadline()
        stages = self._require_pending(check_key(key), version, deadline)
        self._unlabel(key, version, PENDING, deadline)
        if current_of(stages) is None:
            self._delete(key, deadline, force=True)  # it was never readable, so nothing can be missed

    # --- the rest ---

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity` and `can_list`, or raise our errors."""
        deadline = self._connection.deadline()
        try:
            self._connection.call("list_secrets", "listing secrets", deadline, MaxResults=1)
            can_list = "yes"
        except PermissionDeniedError:
            can_list = "no"
        return {"reachable": "yes", "identity": self._connection.identity(), "can_list": can_list}

    def close(self) -> None:
        self._connection.close()

    def _call(self, operation: str, doing: str, deadline: Deadline, **more: Any) -> Any:
        return self._connection.call(operation, doing, deadline, **more)

    def _value(self, key: str, deadline: Deadline, which: dict[str, str]) -> str:
        name = name_of(key)
        if name.hashed:
            self._described(key, deadline)
        answer = self._call(
            "get_secret_value",
            "reading",
            deadline,
            key=key,
            tolerate=_deleted_as_absent(key),
            SecretId=name.text,
            **which,
        )
        if not answer.get("VersionStages"):  # discarded, or older than AWS promises to keep it
            raise _no_version(key)
        return _text_of(answer, key)

    def _batch(self, keys: Mapping[str, str], whole: Deadline) -> tuple[dict[str, str], list[str]]:
        """Return what one batch has of `keys` (by name), and the keys that must be asked for one by one."""
        answer = self._call(
            "batch_get_secret_value",
            "reading a batch",
            self._connection.deadline(whole),
            tolerate=_batch_refused,
            SecretIdList=list(keys),
        )
        if answer == _REFUSED:
            return {}, list(keys.values())
        found: dict[str, str] = {}
        for one in answer.get("SecretValues") or ():
            if one.get("Name") in keys and CURRENT in (one.get("VersionStages") or ()):
                key = keys[one["Name"]]
                found[key] = _text_of(one, key)
        told = {one.get("SecretId"): one.get("ErrorCode") for one in answer.get("Errors") or ()}
        absent = {name for name, code in told.items() if code == "ResourceNotFoundException"}
        return found, [key for name, key in keys.items() if key not in found and name not in absent]

    def _one_by_one(self, keys: list[str], whole: Deadline) -> dict[str, str]:
        if not keys:
            return {}

        def read(key: str) -> str | None:
            try:
                return self._value(key, self._connection.deadline(whole), {"VersionStage": CURRENT})
            except SecretNotFoundError:
                return None

        values = dict(zip(keys, in_parallel(read, keys, _PARALLEL), strict=True))
        return {key: value for key, value in values.items() if value is not None}

    def _secrets(self, names: list[str], whole: Deadline) -> Iterator[dict[str, Any]]:
        asked: dict[str, Any] = {"MaxResults": _PAGE}
        if names:
            asked["Filters"] = [{"Key": "name", "Values": names}]
        while True:
            page = self._call("list_secrets", "listing secrets", self._connection.deadline(whole), **asked)
            yield from page.get("SecretList") or ()
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]

    def _versions(self, key: str, deadline: Deadline) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"SecretId": name_of(key).text, "MaxResults": _PAGE}
        while True:
            page = self._call("list_secret_version_ids", "listing versions of", deadline, key=key, **asked)
            found += page.get("Versions") or ()
            if not page.get("NextToken"):
                return found
            asked["NextToken"] = page["NextToken"]

    def _described(self, key: str, deadline: Deadline, *, deleted_too: bool = False) -> dict[str, Any]:
        """Return what the service tells of a secret; that it is there and is the one that was asked for."""
        name = name_of(key)
        told: dict[str, Any] = self._call(
            "describe_secret", "looking at", deadline, key=key, SecretId=name.text
        )
        if name.hashed and key_of(name.text, told.get("Description")) != key:
            raise SecretNotFoundError(key, provider=self.type_name)
        if told.get("DeletedDate") is not None and not deleted_too:
            raise _deleted(key)
        return told

    def _put(
        self, key: str, text: str, labels: list[str], deadline: Deadline, *, restore: bool = True
    ) -> str | None:
        """Add a version; None where there is no such secret. One that waits for deletion is restored."""
        name = name_of(key)
        if name.hashed:
            try:
                self._described(key, deadline, deleted_too=True)
            except SecretNotFoundError:
                return None
        asked = {
            "SecretId": name.text,
            "SecretString": text,
            "VersionStages": labels,
            "ClientRequestToken": str(uuid.uuid4()),
        }

        def put(tolerate: Any) -> Any:
            return self._call(
                "put_secret_value", "writing", deadline, key=key, hidden=text, tolerate=tolerate, **asked
            )

        answer = put(_absent_or_deleted if restore else _absent)
        if answer == _ABSENT:
            return None
        if answer == _DELETED:
            self._restore(key, deadline)
            answer = put(_absent)
            if answer == _ABSENT:
                return None
        return str(answer["VersionId"])

    def _create(self, key: str, text: str | None, deadline: Deadline) -> str | None:
        """Create a secret and return its version; None where there is one, also one waiting for deletion."""
        name = name_of(key)
        asked: dict[str, Any] = {"Name": name.text, "ClientRequestToken": str(uuid.uuid4())}
        if text is not None:
            asked["SecretString"] = text
        if name.hashed:
            asked["Description"] = description_of(key)
        if self._kms is not None:
            asked["KmsKeyId"] = self._kms
        answer = self._call(
            "create_secret", "creating", deadline, key=key, hidden=text, tolerate=_exists, **asked
        )
        return None if answer == _EXISTS else str(answer.get("VersionId") or "")

    def _restore(self, key: str, deadline: Deadline) -> None:
        name = name_of(key).text
        self._call("restore_secret", "restoring", deadline, key=key, tolerate=_absent, SecretId=name)

    def _delete(self, key: str, deadline: Deadline, *, force: bool = False) -> None:
        asked: dict[str, Any] = {"SecretId": name_of(key).text}
        if force or self._force:
            asked["ForceDeleteWithoutRecovery"] = True
        elif self._window is not None:
            asked["RecoveryWindowInDays"] = self._window
        self._call("delete_secret", "deleting", deadline, key=key, **asked)

    def _move(self, key: str, version: str, expected: str | None, deadline: Deadline) -> None:
        """Move AWSCURRENT to `version` if it is at `expected` now; the service lets one caller do that."""
        asked = {"SecretId": name_of(key).text, "VersionStage": CURRENT, "MoveToVersionId": version}
        if expected is not None:
            if not _is_version(expected):
                raise _conflict(key, "it has another version")
            asked["RemoveFromVersionId"] = expected
        elif current_of(self._described(key, deadline).get("VersionIdsToStages") or {}) is not None:
            raise _conflict(key, "it is there already")
        answer = self._call(
            "update_secret_version_stage", "promoting", deadline, key=key, tolerate=_refused_move, **asked
        )
        if answer == _REFUSED:
            raise _conflict(key, "it has another version")

    def _unlabel(self, key: str, version: str, label: str, deadline: Deadline) -> None:
        self._call(
            "update_secret_version_stage",
            "tidying up",
            deadline,
            key=key,
            tolerate=_refused_move,
            SecretId=name_of(key).text,
            VersionStage=label,
            RemoveFromVersionId=version,
        )

    def _require_pending(self, key: str, version: str, deadline: Deadline) -> Mapping[str, list[str]]:
        stages: Mapping[str, list[str]] = self._described(key, deadline).get("VersionIdsToStages") or {}
        if version not in stages:
            raise _no_version(key)
        if PENDING not in stages[version] or CURRENT in stages[version]:
            raise _conflict(key, "that version is not pending")
        return stages

    def _unsteady(self, key: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self.type_name}: {show_key(key)} is created and deleted at the same time",
            key=key,
            provider=self.type_name,
            hint="try again",
        )


_ABSENT, _DELETED, _EXISTS, _REFUSED = ({"is": what} for what in ("absent", "deleted", "there", "refused"))


def _absent(error: Exception) -> Any:
    from strongroom_aws.errors import code_of

    return _ABSENT if code_of(error) == "ResourceNotFoundException" else None


def _absent_or_deleted(error: Exception) -> Any:
    from strongroom_aws.errors import is_deleted

    return _DELETED if is_deleted(error) else _absent(error)


def _exists(error: Exception) -> Any:
    from strongroom_aws.errors import code_of, is_deleted

    return _EXISTS if code_of(error) == "ResourceExistsException" or is_deleted(error) else None


def _refused_move(error: Exception) -> Any:
    from strongroom_aws.errors import code_of

    refusals = {"InvalidParameterException", "ResourceNotFoundException", "InvalidRequestException"}
    return _REFUSED if code_of(error) in refusals else None


def _batch_refused(error: Exception) -> Any:
    from strongroom_aws.errors import code_of

    # Older policies know no batches, and some servers refuse a whole batch for one of its secrets.
    asked_singly = {"AccessDeniedException", "ResourceNotFoundException", "InvalidRequestException"}
    return _REFUSED if code_of(error) in asked_singly else None


def _deleted_as_absent(key: str) -> Any:
    def look(error: Exception) -> Any:
        from strongroom_aws.errors import is_deleted

        if is_deleted(error):
            raise _deleted(key)
        return None

    return look


def _deleted(key: str) -> SecretNotFoundError:
    return SecretNotFoundError(
        key, reason="deleted", provider="aws", hint="it can be restored: `aws secretsmanager restore-secret`"
    )


def _no_version(key: str) -> SecretNotFoundError:
    return SecretNotFoundError(key, f"secret {show_key(key)} has no such version", provider="aws")


def _conflict(key: str, why: str) -> ConflictError:
    return ConflictError(
        f"secret {show_key(key)} was not written: {why}",
        key=key,
        provider="aws",
        hint="read it again and decide anew",
    )


def _is_version(version: str) -> bool:
    return isinstance(version, str) and 32 <= len(version) <= 64 and version.isascii()  # noqa: PLR2004  # ClientRequestToken's


def _text_of(answer: Mapping[str, Any], key: str) -> str:
    text = answer.get("SecretString")
    if text is None:
        raise binary(key, "aws")
    return decode(text, key, "aws")
