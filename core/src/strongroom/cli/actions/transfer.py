"""Values that `import` and `copy` store in a pipeline, each read back and compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli import errors, output
from strongroom.cli.output import counted, progress
from strongroom.errors import (
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.parallel import in_parallel
from strongroom.pipeline import read_many
from strongroom.providers import BatchWriter

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.pipeline import Pipeline
    from strongroom.providers import SecretProvider
    from strongroom.registry import SecretProviderRegistry

_PART = 500
"""Keys that are written together, and read back before the next ones."""


_PARALLEL_READS = 8
_BEGUN_AGAIN = frozenset({"absent", "deleted", "destroyed"})
_OF_ONE_SECRET = (ValidationError, SecretNotFoundError, PermissionDeniedError)
"""What is wrong with one secret alone, such as a binary one: others can be read all the same."""


class TransferPlan(NamedTuple):
    """What a move would do, key by key."""

    new: list[str]
    same: list[str]
    other: list[str]

    def as_rows(self) -> Iterator[list[str]]:
        """Yield a row for each key and what happens to it."""
        for label, keys in (("copy", self.new), ("is there", self.same), ("OTHER VALUE", self.other)):
            yield from ([key, label] for key in keys)


class Removed(NamedTuple):
    """What `--delete-source` deleted, and what it kept, each with the reason."""

    deleted: list[str]
    kept: dict[str, str]


def unwrapped(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` without caches, rules for values and fallbacks, but with its hooks."""
    from strongroom.rotation.target import without_value_middleware

    return pipeline.with_inner(without_value_middleware(pipeline))


def value_now(provider: SecretProvider, key: str) -> str | None:
    """Return the value of `key`; None if it has none."""
    try:
        return provider.get_secret(key)
    except SecretNotFoundError:
        return None


def read_each_now(
    source: Pipeline | SecretProviderRegistry, keys: Sequence[str]
) -> tuple[dict[str, str], dict[str, StrongroomError]]:
    """Return what `read_each` does of what is stored in `source`, and not what a cache remembers of it."""
    for key in keys:
        source.invalidate(key)
    return read_each(source, keys)


def read_each(
    source: SecretProvider, keys: Sequence[str]
) -> tuple[dict[str, str], dict[str, StrongroomError]]:
    """Return the values of `keys`, and why others cannot be read; what is absent is in neither.

    Raises:
        StrongroomError: All secrets are affected, as by an outage.
    """
    with suppress(*_OF_ONE_SECRET):
        return read_many(source, keys), {}

    def read(key: str) -> str | StrongroomError:
        try:
            return source.get_secret(key)
        except _OF_ONE_SECRET as error:
            return error

    found = dict(zip(keys, in_parallel(read, keys, _PARALLEL_READS), strict=True))
    values = {key: one for key, one in found.items() if isinstance(one, str)}
    failed = {key: one for key, one in found.items() if not isinstance(one, str)}
    return values, {key: one for key, one in failed.items() if getattr(one, "reason", None) != "absent"}


def move(
    settings: GlobalOptions,
    values: Mapping[str, str],
    target: Pipeline | SecretProviderRegistry,
    *,
    overwrite: bool,
    dry_run: bool,
) -> TransferPlan:
    """Store `values` in `target` and read them back; equal values are not written again."""
    with progress("copying") as advance:
        present = _present(target, list(values))
        plan = TransferPlan(
            new=sorted(key for key in values if key not in present),
            same=sorted(key for key in values if present.get(key) == values[key]),
            other=sorted(key for key in present if present[key] != values[key]),
        )
        if dry_run:
            return plan
        if plan.other and not overwrite:
            _refuse(settings, plan)
        todo = sorted([*plan.new, *plan.other])
        for start in range(0, len(todo), _PART):
            _store(values, todo[start : start + _PART], target, lambda done: advance(start + done, len(todo)))  # noqa: B023  # called at once
    return plan


def _present(target: Pipeline | SecretProviderRegistry, keys: Sequence[str]) -> dict[str, str | None]:
    """Return the values in `target`; a secret that was deleted there counts as absent, as for `set`.

    None is for a value that is not text: a binary secret of another tool is another value.
    """
    values, failed = read_each_now(target, keys)
    for error in failed.values():
        is_binary = isinstance(error, ValidationError)
        if not is_binary and getattr(error, "reason", None) not in _BEGUN_AGAIN:
            raise error
    return {**values, **{key: None for key, error in failed.items() if isinstance(error, ValidationError)}}


def _store(
    values: Mapping[str, str],
    keys: Sequence[str],
    target: SecretProvider,
    advance: Callable[[int], object],
) -> None:
    _write(values, keys, target, advance)
    stored = read_many(target, keys)
    wrong = [key for key in keys if stored.get(key) != values[key]]
    if wrong:
        raise StrongroomError(
            f"{counted(len(wrong), 'key was', 'keys were')} read back with a value that was not written; "
            f"the first is {show_key(wrong[0])}",
            hint="nothing was deleted; a middleware may change values",
        )


def _write(
    values: Mapping[str, str],
    keys: Sequence[str],
    target: SecretProvider,
    advance: Callable[[int], object],
) -> None:
    if isinstance(target, BatchWriter):
        # If they are too large together nothing was written: one by one they may fit, or an error names one.
        with suppress(SecretTooLargeError):
            target.set_secrets({key: values[key] for key in keys})
            advance(len(keys))
            return
    for done, key in enumerate(keys, 1):
        target.set_secret(key, values[key])
        advance(done)


def _refuse(settings: GlobalOptions, plan: TransferPlan) -> None:
    if not settings.json:
        output.table(["key", "what"], plan.as_rows())
    raise errors.UsageError(
        f"{counted(len(plan.other), 'key holds', 'keys hold')} another value, "
        f"the first is {show_key(plan.other[0])}; nothing was written",
        code=errors.CONFLICT,
        hint="replace them with --overwrite",
    )


def report(
    settings: GlobalOptions,
    plan: TransferPlan,
    *,
    dry_run: bool,
    removed: Removed | None = None,
    source: str = "",
    failed: Collection[str] = (),
) -> None:
    if settings.json:
        removal = {} if removed is None else {"deleted": removed.deleted, "kept": list(removed.kept)}
        unread = {"failed": list(failed)} if failed else {}
        output.as_json({"dry_run": dry_run, **plan._asdict(), **removal, **unread})
    elif dry_run:
        output.table(["key", "what"], plan.as_rows())
    else:
        line = f"{len(plan.new)} stored, {len(plan.other)} replaced, {len(plan.same)} were there already"
        if removed is not None:
            line += f", {len(removed.deleted)} deleted from {source}"
        if failed:
            line += f", {len(failed)} could not be read"
        output.lines([line])
