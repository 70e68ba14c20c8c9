"""Several pipelines asked in order for a read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError
from strongroom.hooks.observation import observation
from strongroom.keys import distinct
from strongroom.middleware.base import Middleware
from strongroom.parallel import in_parallel
from strongroom.pipeline.batch import PARALLEL_READS, read_many
from strongroom.providers import SecretProvider
from strongroom.providers.version_observers import observing_versions

__all__ = ["FallbackProvider"]


class FallbackProvider(Middleware):
    """Asks several pipelines in order for a read; everything else goes to the first.

    Args:
        inner: The first pipeline.
        others: The pipelines asked after it.
        when: What makes a read go on to the next: `not_found` (absent only, not deleted, destroyed or
            disabled), `unavailable`. Denied never does.
    """

    # Another member may hide what changes at one; leases belong to the members.
    _withheld = frozenset({"subscribe_changes", "issue_lease", "renew_lease", "revoke_lease"})

    def __init__(self, inner: Any, *, others: Sequence[SecretProvider], when: frozenset[str]) -> None:
        super().__init__(inner)
        self.members: tuple[SecretProvider, ...] = (self.inner, *others)
        self.when = when

    def get_secret(self, key: str) -> str:
        failure: StrongroomError | None = None
        seen = observation.get()
        for member in self.members:
            if seen is not None:
                seen.begin_again([key], asks_others=_has_hooks(member))
            try:
                if member is self.inner:
                    return member.get_secret(key)
                with observing_versions(None):  # versions are those of the first
                    return member.get_secret(key)
            except (SecretNotFoundError, BackendUnavailableError) as error:
                # If one of several was down, it is not known whether the secret is absent.
                if failure is None or isinstance(failure, SecretNotFoundError):
                    failure = error
                if not self._goes_on(error):
                    break
        assert failure is not None  # noqa: S101  # the model demands at least one member
        raise failure

    def list_secrets(self, prefix: str = "") -> list[str]:
        return sorted({key for member in self.members for key in member.list_secrets(prefix)})

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        values: dict[str, str] = {}
        missing = asked = distinct(keys)
        down: BackendUnavailableError | None = None
        seen = observation.get()
        for member in self.members:
            if seen is not None:
                seen.begin_again(missing, asks_others=_has_hooks(member))
            try:
                part = read_many(member, missing)
                values |= part
                if seen is not None:  # before another member's sources are noted
                    seen.sources |= {key: seen.source_of(key) for key in part}
                # Before more is asked: where that fails, what was found must not be asked of the next.
                missing = [key for key in missing if key not in part]
                missing = self._may_be_elsewhere(member, missing, values)
            except BackendUnavailableError as error:
                if not self._goes_on(error):
                    raise
                down = down or error
                missing = [key for key in missing if key not in values]
            if not missing:
                break
        if down is not None and len(values) < len(asked):  # as in `get_secret`
            raise down
        return values

    def _may_be_elsewhere(self, member: SecretProvider, keys: list[str], values: dict[str, str]) -> list[str]:
        """Return those of `keys`, which a batch left out, that the next member may have.

        The values of those that were written meanwhile are added to `values`.

        Raises:
            SecretNotFoundError: One is not absent, but deleted, destroyed or disabled.
        """
        if "not_found" not in self.when:
            return []
        if member is self.members[-1]:
            return keys

        written: dict[str, str] = {}

        def may_be(key: str) -> bool:
            try:
                written[key] = member.get_secret(key)
            except SecretNotFoundError as error:
                if not self._goes_on(error):
                    raise
                return True
            return False

        try:
            elsewhere = in_parallel(may_be, keys, PARALLEL_READS)
        finally:
            values |= written.copy()  # after a failure, reads that are still under way add nothing any more
        return [key for key, is_elsewhere in zip(keys, elsewhere, strict=True) if is_elsewhere]

    def close(self) -> None:
        """Do nothing: the members are pipelines of their own, and closed as such."""

    def __repr__(self) -> str:
        return f"<FallbackProvider over {len(self.members)} pipelines>"

    def _goes_on(self, error: StrongroomError) -> bool:
        if isinstance(error, SecretNotFoundError):
            return "not_found" in self.when and error.reason == "absent"
        return "unavailable" in self.when


def _has_hooks(member: Any) -> bool:
    """Return whether a read of `member` is an operation of its own, which notes sources apart."""
    has_hooks = getattr(member, "has_hooks", None)
    return has_hooks is not None and has_hooks()
