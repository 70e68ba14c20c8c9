"""What a rotation works on: the pipeline of a key, and the chain through which its state is kept.

The state is stored beside the secret. It passes encryption and tenants, but not what is made for the
application's values: a cache must not answer for it, and rules for values and names are not meant for it.
"""

from __future__ import annotations

from typing import Any

from strongroom.middleware.base import Middleware
from strongroom.middleware.caching import CachingMiddleware
from strongroom.middleware.renaming import RenamingMiddleware
from strongroom.middleware.uncached import uncached
from strongroom.middleware.validation import ValidationMiddleware
from strongroom.pipeline import Pipeline
from strongroom.pipeline.fallback import FallbackProvider
from strongroom.providers import BaseProvider

__all__ = ["check_against_rules", "pipeline_answering", "without_value_middleware"]

_SKIPPED = (CachingMiddleware, ValidationMiddleware, Pipeline, FallbackProvider)


def pipeline_answering(provider: Any, key: str) -> Any:
    """Return what answers `key`: the pipeline of a registry, or else the provider itself."""
    pipeline_for = getattr(provider, "pipeline_for", None)
    return provider if pipeline_for is None else pipeline_for(key)


def without_value_middleware(target: Any) -> Any:
    """Return `target` without caching, validation and hooks: encryption, tenants and names stay."""
    if isinstance(target, _SKIPPED):
        return without_value_middleware(target.inner)
    if isinstance(target, Middleware):
        inner = without_value_middleware(target.inner)
        return target if inner is target.inner else target.with_inner(inner)
    return uncached(target)


def check_against_rules(target: Any, key: str, old: str, new: str) -> None:
    """Raise what a write of `new` would raise by the rules on its way, before anything is changed.

    A provider with `check_new_value(key, old, new)` is asked, too, if it gets values unencrypted. One that is
    not derived from `BaseProvider` is not asked, since it may raise anything.

    Raises:
        ValidationError, InvalidKeyError, TypeError: See `ValidationMiddleware.check`.
    """
    from strongroom.middleware.encryption import EncryptionMiddleware  # not needed to look at a rotation

    while isinstance(target, Middleware):
        if isinstance(target, EncryptionMiddleware):
            return  # what is inside it gets another text
        if isinstance(target, ValidationMiddleware):
            target.check(key, new)
        if isinstance(target, RenamingMiddleware):
            key = target.stored(key)
        target = target.inner
    check = getattr(target, "check_new_value", None) if isinstance(target, BaseProvider) else None
    if callable(check):
        check(key, old, new)
