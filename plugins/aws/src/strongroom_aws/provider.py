"""Secrets in AWS Secrets Manager."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any, ClassVar

from strongroom.clients import check_answer
from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    SecretNotFoundError,
)
from strongroom.keys import check_key, check_keys, check_prefix, visible_keys
from strongroom.parallel import in_parallel
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion

from strongroom_aws import answers
from strongroom_aws.account import Account
from strongroom_aws.batches import read_in_batches
from strongroom_aws.connection import AwsClient
from strongroom_aws.names import key_of, name_filter, name_of
from strongroom_aws.outcomes import Outcome, Refusal
from strongroom_aws.payload import encode
from strongroom_aws.service import SecretsManager, deletion_of
from strongroom_aws.versions import (
    CURRENT,
    PENDING,
    current_of,
    holder_of,
    in_utc,
    is_id,
    is_vacant,
    newest_first,
    state_of,
)
from strongroom_aws.writes import SecretWriter

__all__ = ["MAX_VALUE_BYTES", "AWSSecretProvider"]

MAX_VALUE_BYTES = 65_536
"""The longest value, in bytes of UTF-8, as Secrets Manager's quotas say."""

_BATCH = 20
_PARALLEL = 8
_ALONE = 2
"""Up to this many secrets are described one by one."""
_FILTERS = 10
"""The most names that the service takes in one filter."""
_BEYOND = 400
"""After this many entries of other secrets, names are asked for."""


class AWSSecretProvider(BaseProvider):
    """Secrets in AWS Secrets Manager, with every capability. Making one does no I/O.

    Args:
        region_name: Region; by default from the SDK's own chain.
        endpoint_url: Address of the service: a VPC endpoint, an emulator.
        profile_name: Profile of `~/.aws/config`.
        recovery_window_days: Days in which a deleted secret can be restored, 7 to 30; AWS's default is 30.
        force_delete: Delete at once, with no way back.
        kms_key_id: KMS key that encrypts new secrets.
        tags: Tags of new secrets.
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
        ConfigurationError: Options that do not go together.
    """

    type_name: ClassVar[str] = "aws"

    def __init__(
        self,
        region_name: str | None = None,
        *,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        recovery_window_days: int | None = None,
        force_delete: bool = False,
        kms_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
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
        self._connection = AwsClient("secretsmanager", self.type_name, account)
        deletion = deletion_of(force_delete, recovery_window_days)
        self._service = SecretsManager(self._connection, kms_key_id, tags or {}, deletion)
        self._recoverable = not force_delete
        self._whole = deadline
        self._workers = min(_PARALLEL, max_connections)
        self._batches = True
        self._writer = SecretWriter(self._service, self._connection, self.type_name)

    def address(self) -> dict[str, str]:
        """Return nothing; `account` identifies the service."""
        return {}

    def account(self) -> str:
        """Return account, region and address of the service; STS is asked who is logged in."""
        return self._connection.account()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.shown()}>"

    # --- reading ---

    def get_secret(self, key: str) -> str:
        return self._value(check_key(key), self._connection.deadline(), {"VersionStage": CURRENT})

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        if not is_id(version):
            raise answers.no_version(key)
        return self._value(key, self._connection.deadline(), {"VersionId": version})

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        wanted = check_keys(keys)
        whole = Deadline(self._whole)
        batches = self._batches  # another thread may learn meanwhile that there are none
        return read_in_batches(
            wanted,
            lambda part: self._batch(part, whole),
            lambda key: self._value_if_any(key, whole),
            alone=lambda key: name_of(key).hashed or not batches,
            size=_BATCH,
            workers=self._workers,
        )

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        found = self._service.secrets(name_filter(prefix) if prefix else [], Deadline(self._whole))
        return visible_keys(
            (key_of(one["Name"], one.get("Description")) for one in found if answers.is_listed(one)), prefix
        )

    def describe_secret(self, key: str) -> SecretMetadata:
        deadline = self._connection.deadline()
        description = self._service.present(check_key(key), deadline)
        version = current_of(description)
        if version is None:
            raise answers.absent(key)
        versions = self._service.versions(key, deadline)
        updated = next((one.get("CreatedDate") for one in versions if one["VersionId"] == version), None)
        tags = {tag["Key"]: tag["Value"] for tag in description.get("Tags") or ()}
        return SecretMetadata(key, version, in_utc(description.get("CreatedDate")), in_utc(updated), tags)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return those that readers find, by lists of up to 100 secrets.

        `updated_at` is None: a list does not tell it. AWS's lists may be some time behind its secrets.
        """
        wanted = check_keys(keys)
        if len(wanted) <= _ALONE:
            return {key: metadata for key in wanted if (metadata := self._described_or_none(key)) is not None}
        by_name = {name_of(key).text: key for key in wanted}
        whole = Deadline(self._whole)
        common = commonprefix(list(by_name))  # noqa: RUF071  # of texts, not of paths
        described: dict[str, SecretMetadata] = {}
        names = list(by_name)
        # Of a beginning that others share, many more may be there.
        most = len(names) + _BEYOND if common else 0
        if common:
            for number, entry in enumerate(self._service.secrets([common], whole)):
                if number >= most:
                    break
                self._note_entry(entry, by_name, described)
            else:
                return {key: described[key] for key in wanted if key in described}
        for at in range(0, len(names), _FILTERS):
            for entry in self._service.secrets(names[at : at + _FILTERS], whole):
                self._note_entry(entry, by_name, described)
        return {key: described[key] for key in wanted if key in described}

    @staticmethod
    def _note_entry(
        entry: Mapping[str, Any], by_name: Mapping[str, str], described: dict[str, SecretMetadata]
    ) -> None:
        """Add the description in an entry of a list to `described`, if its secret was asked for."""
        key = by_name.get(entry["Name"])
        version = current_of(entry)
        if key is None or version is None or not answers.is_listed(entry):
            return
        if key_of(entry["Name"], entry.get("Description")) == key:
            tags = {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or ()}
            described[key] = SecretMetadata(key, version, in_utc(entry.get("CreatedDate")), None, tags)

    def _described_or_none(self, key: str) -> SecretMetadata | None:
        try:
            return self.describe_secret(key)
        except SecretNotFoundError:
            return None

    def list_versions(self, key: str) -> list[SecretVersion]:
        deadline = self._connection.deadline()
        self._service.present(check_key(key), deadline)
        found = newest_first(self._service.versions(key, deadline))
        if not found:
            raise answers.absent(key)
        return found

    # --- writing ---

    def set_secret(self, key: str, value: str) -> None:
        self._writer.write(key, self._encoded(key, value), self._connection.deadline())

    def set_secrets(self, values: Mapping[str, str]) -> None:
        texts = [(key, self._encoded(key, value)) for key, value in values.items()]
        whole = Deadline(self._whole)
        in_parallel(
            lambda one: self._writer.write(*one, self._connection.deadline(whole)), texts, self._workers
        )

    def delete_secret(self, key: str) -> None:
        deadline = self._connection.deadline()
        # AWS does not report that there is nothing to delete at once.
        description = self._service.present(check_key(key), deadline)
        if current_of(description) is None:
            raise answers.absent(key)
        refused = self._service.delete(key, deadline)
        if refused is not None:
            raise answers.absent(key) if refused.outcome is Outcome.ABSENT else answers.deleted(key)
        if self._recoverable:
            self._writer.note_deletion(key)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        text = self._encoded(key, value)
        deadline = self._connection.deadline()
        if expected_version is None:
            return self._writer.write_first(key, text, deadline)
        description = self._service.described(key, deadline)
        if (
            description is None
            or description.get("DeletedDate") is not None
            or current_of(description) != expected_version
        ):
            raise answers.conflict(
                key, "it is not there" if description is None else "it has another version"
            )
        version = self._writer.write_over(key, text, expected_version, deadline)
        if version is None:
            raise answers.conflict(key, "it is not there")
        return version

    def stage_secret(self, key: str, value: str) -> str:
        text = self._encoded(key, value)
        deadline = self._connection.deadline()
        return self._writer.stage(key, text, deadline)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        deadline = self._connection.deadline()
        description = self._writer.pending(check_key(key), version, deadline)
        if current_of(description) != expected_version:
            raise answers.conflict(key, "it has another version")
        self._writer.make_current(key, version, holder_of(description), deadline)
        # It is promoted, and a current version's label AWSPENDING means nothing.
        with contextlib.suppress(BackendUnavailableError):
            self._service.move(key, PENDING, deadline, to=None, of=version)

    def discard_version(self, key: str, version: str) -> None:
        deadline = self._connection.deadline()
        self._writer.pending(check_key(key), version, deadline)
        self._service.move(key, PENDING, deadline, to=None, of=version)

    # --- the rest ---

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity`, `can_list` and `clock_skew`, or raise our errors."""
        from strongroom_aws.diagnosis import diagnose

        return diagnose(self._connection, "list_secrets", {"MaxResults": 1})

    def close(self) -> None:
        self._connection.close()

    def _encoded(self, key: str, value: str) -> str:
        return encode(value, check_key(key), MAX_VALUE_BYTES, self.type_name)

    def _value(self, key: str, deadline: Deadline, which: dict[str, str]) -> str:
        if name_of(key).hashed:
            self._service.present(key, deadline)
        answer = self._service.value(key, deadline, which)
        if isinstance(answer, Refusal):
            raise answers.deleted(key)
        check_answer(self.type_name, key, answer["VersionId"], which.get("VersionId"))
        if state_of(answer["VersionId"], answer.get("VersionStages") or ()) is None:
            raise answers.absent(key) if CURRENT in which.values() else answers.no_version(key)
        return answers.text_of(answer, key)

    def _value_if_any(self, key: str, whole: Deadline) -> str | None:
        try:
            return self._value(key, self._connection.deadline(whole), {"VersionStage": CURRENT})
        except SecretNotFoundError as error:
            if error.reason != "absent":
                raise
            return None

    def _batch(self, keys: Sequence[str], whole: Deadline) -> tuple[dict[str, str], list[str]]:
        """Return the values that one batch has, and the keys that have to be read one by one."""
        by_name = {name_of(key).text: key for key in keys}
        answer = self._service.batch(list(by_name), self._connection.deadline(whole))
        if isinstance(answer, Refusal):
            # Older policies and emulators know no batches; they are not asked again.
            self._batches = answer.outcome not in {Outcome.DENIED, Outcome.UNKNOWN_OPERATION}
            return {}, list(keys)
        values: dict[str, str] = {}
        absent: set[str] = set()
        for entry in answer.get("SecretValues") or ():
            key = by_name.get(entry["Name"])
            if key is None or CURRENT not in (entry.get("VersionStages") or ()):
                continue
            if is_vacant(entry["VersionId"]):
                absent.add(key)
            else:
                values[key] = answers.text_of(entry, key)
        for failure in answer.get("Errors") or ():
            key = by_name.get(failure.get("SecretId") or "")
            if key is not None and answers.is_deletion(failure):
                raise answers.deleted(key)
            if key is not None and answers.is_absence(failure):
                absent.add(key)
        return values, [key for key in keys if key not in values and key not in absent]
