"""The requests to Secrets Manager, one method each; the provider combines them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from strongroom.deadlines import Deadline
from strongroom.errors import ConfigurationError

from strongroom_aws import answers
from strongroom_aws.connection import AwsClient
from strongroom_aws.names import description_of, key_of, name_of
from strongroom_aws.outcomes import Outcome, Refusal

_PAGE = 100
_WINDOWS = range(7, 31)
_GONE = frozenset({Outcome.ABSENT, Outcome.DELETED})
_NO_BATCH = frozenset({Outcome.DENIED, Outcome.UNKNOWN_OPERATION, Outcome.ABSENT, *_GONE})


class SecretsManager:
    """Secrets Manager by keys instead of names.

    Args:
        connection: Makes the calls.
        kms_key_id: KMS key that encrypts new secrets.
        tags: Tags of new secrets.
        deletion: The parameters that say how a secret is deleted.
    """

    def __init__(
        self,
        connection: AwsClient,
        kms_key_id: str | None,
        tags: Mapping[str, str],
        deletion: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._deletion = dict(deletion)
        self._created: dict[str, Any] = {}
        if kms_key_id is not None:
            self._created["KmsKeyId"] = kms_key_id
        if tags:
            self._created["Tags"] = [{"Key": name, "Value": text} for name, text in tags.items()]

    def value(self, key: str, deadline: Deadline, which: Mapping[str, Any]) -> Any:
        """Return a version with its value, or a refusal if the secret waits for its deletion."""
        return self._connection.call(
            "get_secret_value",
            "reading",
            deadline,
            key=key,
            accept={Outcome.DELETED},
            SecretId=name_of(key).text,
            **which,
        )

    def batch(self, names: list[str], deadline: Deadline) -> Any:
        """Return the current versions of at most 20 names, or a refusal of the whole batch."""
        return self._connection.call(
            "batch_get_secret_value", "reading a batch", deadline, accept=_NO_BATCH, SecretIdList=names
        )

    def secrets(self, beginnings: list[str], within: Deadline) -> Iterator[dict[str, Any]]:
        """Yield the entries of the secrets whose names begin with one of `beginnings`, or of all."""
        asked: dict[str, Any] = {"Filters": [{"Key": "name", "Values": beginnings}]} if beginnings else {}
        return self._pages("list_secrets", "listing secrets", "SecretList", within, None, **asked)

    def versions(self, key: str, within: Deadline) -> Iterator[dict[str, Any]]:
        """Yield all versions of a secret, those without a label too."""
        asked = {"SecretId": name_of(key).text, "IncludeDeprecated": True}
        return self._pages("list_secret_version_ids", "listing versions of", "Versions", within, key, **asked)

    def described(self, key: str, deadline: Deadline) -> dict[str, Any] | None:
        """Return the metadata of a secret, also while it waits for deletion; None if there is none."""
        name = name_of(key)
        answer = self._connection.call(
            "describe_secret", "looking at", deadline, key=key, accept={Outcome.ABSENT}, SecretId=name.text
        )
        if isinstance(answer, Refusal) or (
            name.hashed and key_of(name.text, answer.get("Description")) != key
        ):
            return None
        return dict(answer)

    def present(self, key: str, deadline: Deadline) -> dict[str, Any]:
        """Return the entry in a list of an existing secret."""
        description = self.described(key, deadline)
        if description is None:
            raise answers.absent(key)
        if description.get("DeletedDate") is not None:
            raise answers.deleted(key)
        return description

    def put(
        self, key: str, text: str, version: str, label: str, deadline: Deadline
    ) -> dict[str, Any] | Refusal:
        """Add a version with one label, which leaves the version that had it."""
        answer: dict[str, Any] | Refusal = self._connection.call(
            "put_secret_value",
            "writing",
            deadline,
            key=key,
            hidden=text,
            accept=_GONE,
            SecretId=name_of(key).text,
            SecretString=text,
            VersionStages=[label],
            ClientRequestToken=version,
        )
        return answer

    def create(self, key: str, text: str, version: str, deadline: Deadline) -> str | None:
        """Create a secret and return its version; None if the name is taken, even by a deleted one."""
        name = name_of(key)
        request: dict[str, Any] = {"Description": description_of(key)} if name.hashed else {}
        answer = self._connection.call(
            "create_secret",
            "creating",
            deadline,
            key=key,
            hidden=text,
            accept={Outcome.EXISTS, Outcome.DELETED},
            Name=name.text,
            SecretString=text,
            ClientRequestToken=version,
            **request,
            **self._created,
        )
        return None if isinstance(answer, Refusal) else str(answer["VersionId"])

    def restore(self, key: str, deadline: Deadline) -> None:
        """Cancel the deletion of a secret, if it waits for one."""
        self._connection.call(
            "restore_secret",
            "restoring",
            deadline,
            key=key,
            accept={Outcome.REFUSED, *_GONE},
            SecretId=name_of(key).text,
        )

    def delete(self, key: str, deadline: Deadline) -> Refusal | None:
        """Delete a secret; a refusal says that it is gone already."""
        answer = self._connection.call(
            "delete_secret",
            "deleting",
            deadline,
            key=key,
            accept=_GONE,
            # A process that sets the key again meanwhile must not lose it for good.
            repeatable="ForceDeleteWithoutRecovery" not in self._deletion,
            SecretId=name_of(key).text,
            **self._deletion,
        )
        return answer if isinstance(answer, Refusal) and not answer.retried else None

    def move(
        self, key: str, label: str, deadline: Deadline, *, to: str | None, of: str | None
    ) -> Refusal | None:
        """Move a label; the service refuses unless it is on the version `of`, or on none if `of` is None.

        This is the only request of the service that compares before it writes.
        """
        versions = {"MoveToVersionId": to, "RemoveFromVersionId": of}
        request: dict[str, Any] = {name: one for name, one in versions.items() if one is not None}
        answer = self._connection.call(
            "update_secret_version_stage",
            "promoting" if to is not None else "tidying up",
            deadline,
            key=key,
            accept={Outcome.REFUSED, *_GONE},
            SecretId=name_of(key).text,
            VersionStage=label,
            **request,
        )
        return answer if isinstance(answer, Refusal) else None

    def _pages(
        self, operation: str, doing: str, member: str, within: Deadline, key: str | None, **asked: Any
    ) -> Iterator[dict[str, Any]]:
        while True:
            deadline = self._connection.deadline(within)
            page = self._connection.call(operation, doing, deadline, key=key, MaxResults=_PAGE, **asked)
            yield from page.get(member) or ()
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]


def deletion_of(force: bool, window: int | None) -> dict[str, Any]:
    """Return the parameters that say how a secret is deleted.

    Raises:
        ConfigurationError: Both are given, or a window that the service does not have.
    """
    if force and window is not None:
        raise ConfigurationError(
            "either force_delete or recovery_window_days, not both",
            provider="aws",
            hint="force_delete leaves no recovery window",
        )
    if force:
        return {"ForceDeleteWithoutRecovery": True}
    if window is not None and window not in _WINDOWS:
        raise ConfigurationError(
            f"recovery_window_days must be {_WINDOWS[0]} to {_WINDOWS[-1]}, got {window}", provider="aws"
        )
    return {} if window is None else {"RecoveryWindowInDays": window}
