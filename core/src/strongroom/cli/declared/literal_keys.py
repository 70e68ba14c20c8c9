"""Keys of a spec that are not keys, or can be guessed; no component is made to find out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.spec.key_uses import LiteralKey
    from strongroom.spec.plan import ComponentPlan, Plan

__all__ = ["weak_audit_keys", "weak_literal_audit_keys", "wrong_literal_keys"]

_CIPHERS: Final = frozenset({"encryption", "aes-gcm", "chacha20", "fernet"})
"""The types whose options `key` and `older_keys` are encryption keys."""


def wrong_literal_keys(plan: Plan) -> Iterator[str]:
    """Yield, with its place, each key in the spec itself that its component would refuse as it is made."""
    for key in _literal_keys(plan):
        try:
            _read(key)
        except ConfigurationError as error:
            yield f"{key.place}: {error.message}"


def weak_literal_audit_keys(plan: Plan) -> Iterator[str]:
    """Yield, with its place, each key of an audit log in the spec itself that can be guessed."""
    for key in _literal_keys(plan):
        if key.component == "audit" and key.option == "key":
            yield from _weakness(key.place, key.text)


def weak_audit_keys(plan: Plan) -> Iterator[str]:
    """Yield, with its place, each key of an audit log that can be guessed; references are looked up."""
    for hook in _hooks(plan):
        if hook.type == "audit" and not hook.reads:  # else it is in a pipeline
            yield from _weakness(f"{hook.position}: {hook.path}.key", hook.resolved().get("key"))


def _weakness(place: str, key: str | None) -> Iterator[str]:
    from strongroom.audit.key_source import KeySource

    weakness = KeySource(key).weakness("") if key else None
    if weakness is not None:
        yield f"{place}: {weakness}"


def _hooks(plan: Plan) -> Iterator[ComponentPlan]:
    yield from plan.hooks
    for pipeline in plan.pipelines.values():
        yield from pipeline.hooks


def _literal_keys(plan: Plan) -> Iterator[LiteralKey]:
    from strongroom.spec.key_uses import literal_keys

    # A plan without a digest comes from no file.
    return literal_keys(plan.source, plan.profile) if plan.digest else iter(())


def _read(key: LiteralKey) -> None:
    from strongroom.audit.key_source import KeySource
    from strongroom.encryption.keys import read_key

    if key.option == "encryption_key" or key.component in _CIPHERS:
        read_key(key.text, older=key.option == "older_keys")
    elif key.component == "audit":
        KeySource(key.text)
