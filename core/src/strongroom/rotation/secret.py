"""The secret that is rotated, as a rotation sees it: which value readers get, and what is staged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

from strongroom.errors import RotationError, SecretNotFoundError, UnsupportedOperationError, show_key
from strongroom.middleware.write_observer import WriteNotifier
from strongroom.pipeline import Pipeline, as_operation
from strongroom.providers import Describer, StagedWriter, VersionReader
from strongroom.rotation.ledger import Record
from strongroom.rotation.target import without_value_middleware

__all__ = ["Look", "Secret"]

T = TypeVar("T")


class Look(NamedTuple):
    """What was stored at one moment."""

    version: str | None
    """The version that readers get; None if the backend has no versions."""
    pending: tuple[str, ...] = ()


class Secret:
    """One secret, read past caches and hooks, and written as by any caller.

    Args:
        target: What answers the key.
        key: The secret.
    """

    def __init__(self, target: Any, key: str) -> None:
        self.key = key
        self._target = target
        # The hooks of the outermost pipeline see one rotation, and not its many small operations.
        self.write_chain: Any = target
        if isinstance(target, Pipeline):
            self.write_chain = WriteNotifier(target.inner, target.around_write)
        self.record_store = store = without_value_middleware(target)
        self._stages = isinstance(store, StagedWriter) and isinstance(store, VersionReader)
        self._values: dict[str, str] = {}  # by version; the value of a version never changes

    def ask(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Return what `method` returns; the events of its operations say `rotate`, even inside a fallback."""
        with as_operation("rotate"):
            return method(*args, **kwargs)

    def look(self) -> Look:
        """Return what is stored now, by one request if the backend has versions.

        Raises:
            SecretNotFoundError: There is no such secret.
        """
        if self._stages:
            try:
                versions = self.ask(self.record_store.list_versions, self.key)
            except UnsupportedOperationError:
                return Look(self._described())
            pending = tuple(one.version for one in versions if one.state == "pending")
            current = next((one.version for one in versions if one.state == "current"), None)
            return Look(self._described() if current is None else current, pending)
        return Look(self._described())

    def value(self, look: Look) -> str:
        """Return the value that readers got at `look`; without versions, the one that they get now."""
        if look.version is not None and isinstance(self.record_store, VersionReader):
            with suppress(UnsupportedOperationError, SecretNotFoundError):
                return self.value_of(look.version)
        return self.observed(self.ask(self.record_store.get_secret, self.key))

    def value_of(self, version: str) -> str:
        """Return the value of a version, which is read only once."""
        if version not in self._values:
            self.remember(version, self.ask(self.record_store.get_secret_version, self.key, version))
        return self.observed(self._values[version])

    def remember(self, version: str | None, value: str) -> None:
        """Remember `value` as the value of `version`, so that it need not be read."""
        if version is not None:
            self._values[version] = value

    def remembered(self, version: str | None) -> str | None:
        """Return the value of `version` if it is known without a request, else None."""
        return None if version is None else self._values.get(version)

    def keeps_versions(self, look: Look) -> bool:
        """Return whether the value at `look` can still be read when another one is current."""
        return look.version is not None and isinstance(self.record_store, VersionReader)

    def readers(self, record: Record, look: Look) -> Literal["old", "new", "other"]:
        """Return which value readers get: the old one, the new one, or one that somebody else set."""
        if record.new_version is not None and look.version is not None and look.version == record.new_version:
            return "new"
        if record.old_version is not None and look.version is not None:
            if look.version == record.old_version and record.old in {None, record.new}:
                return "old"  # even if the new value equals it: writing it makes it young again
            if record.new_version is None and record.made(self.value(look)):
                return "new"
            return "old" if look.version == record.old_version else "other"
        value = self.value(look)
        if record.made(value):
            return "new"
        return "old" if record.old is None or value == record.old else "other"

    def replaced(self, look: Look) -> str | None:
        """Return the version that the one at `look` replaced, None if that is not known."""
        if look.version is None or not isinstance(self.record_store, VersionReader):
            return None
        with suppress(UnsupportedOperationError):
            versions = [one.version for one in self.ask(self.record_store.list_versions, self.key)]
            if look.version in versions[:-1]:
                return versions[versions.index(look.version) + 1]
        return None

    def old(self, record: Record) -> str:
        """Return the value that `record` replaces.

        Raises:
            RotationError: It is no longer there.
        """
        if record.old is not None:
            return self.observed(record.old)
        if record.old_version is None:
            return self.value(Look(None))
        with suppress(SecretNotFoundError):
            return self.value_of(record.old_version)
        raise RotationError(
            f"the value of {show_key(self.key)} before its rotation is no longer there",
            key=self.key,
            hint="set a value that works; a rollback needs a backend that keeps two versions or more "
            "(`max_versions` in Vault)",
        )

    def new(self, record: Record) -> str | None:
        """Return the value that `record` makes current; None if somebody dropped it."""
        if record.new is not None:
            return self.observed(record.new)
        if record.new_version is None or not isinstance(self.record_store, VersionReader):
            return None
        with suppress(SecretNotFoundError):
            return self.value_of(record.new_version)
        return None

    def known_values(self, record: Record) -> set[str]:
        """Return every value of `record`, and all others of the secret that were read.

        Raises:
            StrongroomError: The old or the new value cannot be read now.
        """
        known = {*self._values.values(), *(value for value, _ in record.stale)}
        with suppress(RotationError):  # it is no longer there
            known.add(self.old(record))
        new = self.new(record)
        return known if new is None else {*known, new}

    def observed(self, value: str) -> str:
        """Return `value`, after making it known for masking."""
        return self._target.observed(value) if isinstance(self._target, Pipeline) else value

    def _described(self) -> str | None:
        if isinstance(self.record_store, Describer):
            with suppress(UnsupportedOperationError):
                version: str = self.ask(self.record_store.describe_secret, self.key).version
                return version
        # There is no version to ask for: reading the value shows whether the secret exists.
        return None
