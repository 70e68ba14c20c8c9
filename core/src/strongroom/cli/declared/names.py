"""The names that a user gives for a secret: keys, or declared names, which stand for the key in the spec.

A name is tried as a key first. Only if nothing is stored there, or it may not be read, it is taken as a
declared name.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom.errors import PermissionDeniedError, SecretNotFoundError, ValidationError
from strongroom.runtime.frozen import NamedTuple
from strongroom.spec.found import passed_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.declarations.resolution import SecretSource
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import Declarations, SecretPlan

__all__ = [
    "Read",
    "declared_by_other_key",
    "own_store_asked",
    "read",
    "stored",
    "suggesting",
    "target",
    "with_nearest",
]

_LISTED_SOON = frozenset({"memory", "file", "env", "directory"})


class Read(NamedTuple):
    """A value, and the key it was read from; the name of a composed secret."""

    key: str
    value: str


def declared_by_other_key(plan: Declarations, text: str, *, as_key: bool = False) -> SecretPlan | None:
    """Return the declaration of the name `text`; None if there is none, or its key is `text` as well.

    Args:
        plan: What is declared.
        text: What the user typed.
        as_key: Whether it is a key in any case.
    """
    declared = None if as_key else plan.secrets.get(text)
    return None if declared is None or declared.key == text else declared


def read(source: SecretSource, text: str, *, as_key: bool = False) -> Read:
    """Return the value of the key or declared name `text`.

    Raises:
        SecretNotFoundError: There is none; the message has the key that was asked for last.
        ValidationError: It is composed, and its parts break a rule.
    """
    declared = declared_by_other_key(source.plan, text, as_key=as_key)
    if declared is None:
        return Read(text, source.get_secret(text))
    value = stored(source, text)
    if value is not None:
        return Read(text, value)
    if declared.compose is not None:
        return Read(text, _composed(source, declared))
    value = source.get_secret(declared.key)
    if declared.field is not None:
        from strongroom.declarations.json_fields import member_of

        value = member_of(value, declared.key, declared.field)
    return Read(declared.key, value)


def stored(source: SecretSource, key: str) -> str | None:
    """Return the value at `key`; None if there is none, or it may not be read."""
    try:
        return source.get_secret(key)
    except SecretNotFoundError as error:
        if error.reason != "absent":
            raise
    except PermissionDeniedError:
        pass
    return None


def _composed(source: SecretSource, declared: SecretPlan) -> str:
    from strongroom.declarations.resolve import resolve_all

    resolution = resolve_all(source, {declared.name: declared})[declared.name]
    if resolution.text is not None:
        return resolution.text
    if resolution.error is not None and resolution.status != "missing":
        raise resolution.error
    problem = f"{declared.name}: {resolution.problem or 'what it is composed of is not there'}"
    if resolution.status in {"missing", "ok"}:
        raise SecretNotFoundError(declared.name, problem)
    raise ValidationError(problem)


def target(
    registry: SecretProviderRegistry, text: str, *, as_key: bool, doing: str
) -> tuple[str, SecretPlan | None]:
    """Return the key that a command is about, and its declaration if `text` is a declared name.

    Args:
        registry: Asked whether there is such a key, if `text` is also a declared name.
        text: What the user typed.
        as_key: Whether it is a key in any case.
        doing: What the command does to a secret, for the message.

    Raises:
        UsageError: The secret is composed of others.
    """
    declared = declared_by_other_key(registry.plan, text, as_key=as_key)
    if declared is None or stored(registry, text) is not None:
        return text, None
    if declared.compose is not None:
        from strongroom.cli.errors import UsageError

        parts = ", ".join(declared.parts) or "fixed text"
        raise UsageError(
            f"{text} is composed of {parts}: there is nothing of its own to {doing}",
            hint=f"{doing} those, or give --key if a key has that name",
        )
    return declared.key, declared


@contextmanager
def suggesting(registry: SecretProviderRegistry) -> Iterator[None]:
    """Add the name that was most likely meant to the error for a secret that was not found."""
    try:
        yield
    except SecretNotFoundError as error:
        with_nearest(registry, error)
        raise


def with_nearest(registry: SecretProviderRegistry, error: SecretNotFoundError) -> SecretNotFoundError:
    """Return `error`, with the name or key that was most likely meant as its hint."""
    from strongroom.errors import StrongroomError, show_key
    from strongroom.plugins import nearest

    if error.reason != "absent" or error.key is None:
        return error
    # The hint that a fresh clone has no store does not fit the user's own store.
    if error.hint is not None and (registry.plan.origin != "own" or not registry.absent_store(error.key)):
        return error
    error.hint = _where_declared(registry.plan, error.key)
    if error.hint is not None:
        return error
    # Not a name that leads to this very key: there is nothing.
    others = {name: one.key for name, one in registry.plan.secrets.items() if one.key != error.key}
    close = nearest(error.key, {*others, *(key for key in others.values() if key)})
    if close is None:
        try:
            how = registry.explain(error.key)
            # Hooks would see a listing that the user did not ask for.
            if how.provider in _LISTED_SOON and not how.hooks:
                close = nearest(error.key, registry.list_secrets())
        except StrongroomError:  # what was not found is reported all the same
            return error
    if close is not None:
        error.hint = f"did you mean {show_key(close)}?"
    elif registry.plan.origin == "own":
        error.hint = own_store_asked()
    elif (store := registry.absent_store(error.key)) is not None:
        error.message += f": {store}"
        place = registry.explain(error.key).source
        error.hint = f"a fresh clone has none: copy it there, or correct the path in the spec ({place})"
    else:
        error.hint = _only_the_first_asked(registry, error) or "`strongroom list` shows what is stored"
    return error


def _where_declared(plan: Declarations, name: str) -> str | None:
    """Return what the spec says of a declared name, for a command for keys alone; None if it is not one."""
    declared = declared_by_other_key(plan, name)
    if declared is None:
        return None
    from strongroom.errors import show_key

    parts = ", ".join(declared.parts) or "fixed text"
    leads = f"composed of {parts}" if declared.compose is not None else f"at the key {show_key(declared.key)}"
    return f"the secret that the spec declares by this name is {leads}"


def _only_the_first_asked(registry: SecretProviderRegistry, error: SecretNotFoundError) -> str | None:
    """Return where a secret may be that the first member of a fallback does not have; None if nowhere else.

    `get` and `list` ask all members, so they may show it; everything else is for the first alone.
    """
    from strongroom.errors import StrongroomError

    try:
        how = registry.explain(error.key or "")
    except StrongroomError:
        return None
    members = [member.pipeline for member in how.fallback]
    first, others = members[:1], members[1:]
    if not others or error.pipeline not in {None, *first, how.pipeline}:
        return None
    named = " or ".join(f"`--pipeline {name}`" for name in others)
    return f"{how.pipeline} changes only the secrets of {first[0]}; for others give {named}"


def own_store_asked() -> str:
    """Return what to say of a user's own store in which something is missing."""
    return f"there is no strongroom.yaml here or above, so your own store was asked{passed_over()}"
