"""Writes to Secrets Manager: adds versions, and moves the labels that decide which one readers get.

A version is added with another label, and then AWSCURRENT is moved to it from the version that has it; of
several writers, the service lets only one do that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from strongroom.clients import backoff_delays
from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    PermissionDeniedError,
    StrongroomError,
    show_key,
)

from strongroom_aws import answers
from strongroom_aws.connection import AwsClient
from strongroom_aws.names import name_of
from strongroom_aws.outcomes import Outcome, Refusal
from strongroom_aws.service import SecretsManager
from strongroom_aws.versions import (
    CANDIDATE,
    CURRENT,
    PENDING,
    VACANT_VALUE,
    current_of,
    holder_of,
    new_id,
    pending_of,
    staged_id,
    vacant_id,
)

__all__ = ["SecretWriter"]

_REMEMBERED = 1024
_RESTORED = "the deleted secret has been restored, and so readers get its old value: set it again"
T = TypeVar("T")
_Restore = Callable[[Mapping[str, Any] | None], None]


class SecretWriter:
    """Writes secrets; values are encoded already.

    Args:
        service: The requests.
        connection: Waits between tries.
        type_name: The provider, for messages.
    """

    def __init__(self, service: SecretsManager, connection: AwsClient, type_name: str) -> None:
        self._service = service
        self._connection = connection
        self._type_name = type_name
        self._deleted: set[str] = set()

    def note_deletion(self, key: str) -> None:
        """Note that `key` was deleted and can be restored, so that the next write restores it first."""
        if len(self._deleted) >= _REMEMBERED:
            self._deleted.clear()
        self._deleted.add(key)

    def write(self, key: str, text: str, deadline: Deadline) -> None:
        """Create or replace a secret; one that was deleted is restored first."""
        version = new_id()

        def attempt(restore: _Restore) -> str | None:
            if key in self._deleted:
                self._deleted.discard(key)
                restore(self._seen(key, deadline))
            answer = self._put(key, text, version, CURRENT, deadline)
            if isinstance(answer, Refusal) and answer.outcome is Outcome.DELETED:
                restore(self._seen(key, deadline))
                answer = self._put(key, text, version, CURRENT, deadline)
            if not isinstance(answer, Refusal):
                return version
            return self._service.create(key, text, version, deadline)

        self._until_steady(key, deadline, attempt)

    def _seen(self, key: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the description of a secret that is to be restored; who may not read it can still write."""
        try:
            return self._service.described(key, deadline)
        except PermissionDeniedError:
            return {}

    def _put(
        self, key: str, text: str, version: str, label: str, deadline: Deadline
    ) -> dict[str, Any] | Refusal:
        if name_of(key).hashed and self._service.described(key, deadline) is None:
            return Refusal(Outcome.ABSENT, retried=False)
        return self._service.put(key, text, version, label, deadline)

    def write_first(self, key: str, text: str, deadline: Deadline) -> str:
        """Write a key that must have no value, and return the version."""

        def attempt(restore: _Restore) -> str | None:
            created = self._service.create(key, text, new_id(), deadline)
            if created is not None:
                return created
            description = self._service.described(key, deadline)
            if description is None:
                return None
            if description.get("DeletedDate") is not None:
                restore(description)
            elif current_of(description) is not None:
                raise answers.conflict(key, "it is there already")
            return self.write_over(key, text, holder_of(description), deadline)

        return self._until_steady(key, deadline, attempt)

    def write_over(self, key: str, text: str, holder: str | None, deadline: Deadline) -> str | None:
        """Add a version and make it current if `holder` still is; None where there is no secret any more."""
        version = staged_id()
        answer = self._service.put(key, text, version, CANDIDATE, deadline)
        if isinstance(answer, Refusal):
            return None
        if CURRENT not in (answer.get("VersionStages") or ()):  # as is the first version of all
            self.make_current(key, version, holder, deadline)
        return version

    def make_current(self, key: str, version: str, holder: str | None, deadline: Deadline) -> None:
        """Move AWSCURRENT to `version` if `holder` has it; of several writers, only one succeeds."""
        refused = self._service.move(key, CURRENT, deadline, to=version, of=holder)
        if refused is None:
            return
        if refused.retried and holder_of(self._service.described(key, deadline) or {}) == version:
            return  # the answer of an earlier try was lost
        raise answers.conflict(key, "it has another version")

    def stage(self, key: str, text: str, deadline: Deadline) -> str:
        """Add a pending version, and return it."""

        def attempt(restore: _Restore) -> str | None:
            description = self._service.described(key, deadline)
            if description is None:
                if self._service.create(key, VACANT_VALUE, vacant_id(), deadline) is None:
                    return None
            elif description.get("DeletedDate") is not None or holder_of(description) is None:
                # A first version would be current at once.
                restore(description)
                self._vacate(key, holder_of(description), deadline)
            version = staged_id()
            answer = self._service.put(key, text, version, PENDING, deadline)
            return None if isinstance(answer, Refusal) else version

        return self._until_steady(key, deadline, attempt)

    def _vacate(self, key: str, holder: str | None, deadline: Deadline) -> None:
        """Hide the value of `holder` from readers, unless another one was written meanwhile."""
        version = vacant_id()
        answer = self._service.put(key, VACANT_VALUE, version, CANDIDATE, deadline)
        if not isinstance(answer, Refusal) and CURRENT not in (answer.get("VersionStages") or ()):
            self._service.move(key, CURRENT, deadline, to=version, of=holder)

    def pending(self, key: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """Return the metadata of a secret whose `version` is pending."""
        description = self._service.present(key, deadline)
        labels = (description.get("VersionIdsToStages") or {}).get(version)
        if not labels:
            raise answers.no_version(key)
        if PENDING not in labels or CURRENT in labels:
            raise answers.conflict(key, "that version is not pending")
        return description

    def _until_steady(self, key: str, deadline: Deadline, attempt: Callable[[_Restore], T | None]) -> T:
        """Try again while a name is neither free nor a secret: a deletion at once takes AWS some seconds.

        `attempt` gets a function that restores the secret of a description, if that waits for its deletion.
        """
        restored = False

        def restore(description: Mapping[str, Any] | None) -> None:
            nonlocal restored
            restored = self._restore(key, description, deadline) or restored

        waits = backoff_delays()
        try:
            while (done := attempt(restore)) is None:
                if not self._connection.hold_back(next(waits), deadline):
                    raise BackendUnavailableError(
                        f"{self._type_name}: {show_key(key)} is being deleted, "
                        "or created and deleted by others",
                        key=key,
                        provider=self._type_name,
                        hint="try again in some seconds",
                    )
        except ConflictError:
            raise  # somebody else's value is there
        except StrongroomError as error:
            if restored:
                error.hint = _RESTORED
            raise
        return done

    def _restore(self, key: str, description: Mapping[str, Any] | None, deadline: Deadline) -> bool:
        """Cancel the deletion of a secret; return whether it waited for one, by its description.

        What was staged before the deletion does not stay staged: a rotation that was in flight then would be
        in flight again.
        """
        if description is None:
            return False
        self._service.restore(key, deadline)  # which may know of a deletion before the description shows it
        if description.get("DeletedDate") is None:
            return False
        staged = pending_of(description)
        if staged is not None:
            with suppress(PermissionDeniedError):  # who may not move labels can still write
                self._service.move(key, PENDING, deadline, to=None, of=staged)
        return True
