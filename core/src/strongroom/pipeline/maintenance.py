"""Work on everything that a pipeline stores: backup, restore and rekey, each one operation that hooks see.

They bypass middleware and use the store itself. So what middleware would refuse is refused here: a read-only
pipeline writes nothing, and a pipeline for tenants needs `all_tenants`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from strongroom.errors import (
    ConflictError,
    ReadOnlyError,
    StrongroomError,
    TenantContextError,
    UnsupportedOperationError,
)
from strongroom.keys import record_key
from strongroom.middleware import EncryptionMiddleware, ReadOnlyMiddleware, TenantMiddleware
from strongroom.middleware.renaming import RenamingMiddleware
from strongroom.pipeline.pipeline import Pipeline
from strongroom.providers.base import innermost, layers
from strongroom.tenancy import TenantContext

__all__ = [
    "Progress",
    "encryption_of",
    "has",
    "operate",
    "refuse_early",
    "refuse_staged",
    "refuse_unreadable",
    "rekey_values",
    "store_of",
]

T = TypeVar("T")
Progress = Callable[[int, int], object]
"""Called with how many are done, and how many there are."""


def has(pipeline: Pipeline, operation: str) -> bool:
    """Return whether the pipeline's provider has the operation."""
    return callable(getattr(innermost(pipeline), operation, None))


def store_of(pipeline: Pipeline, operation: str) -> Any:
    """Return the provider of a pipeline.

    Raises:
        UnsupportedOperationError: It does not have the operation.
    """
    provider = innermost(pipeline)
    if not has(pipeline, operation):
        kind = getattr(provider, "type_name", "") or type(provider).__name__
        raise UnsupportedOperationError(
            f"{kind} has no {operation}",
            pipeline=pipeline.name,
            hint="name a pipeline with a file: --pipeline NAME",
        )
    return provider


def operate(
    pipeline: Pipeline, operation: str, call: Callable[[], T], *, all_tenants: bool, writes: bool = True
) -> T:
    """Run `call` as one operation of a pipeline, and of the first member of its fallback, with an empty key.

    Args:
        pipeline: The pipeline, whose hooks see the operation.
        operation: Its name: `backup`, `restore` or `rekey`.
        call: Does it.
        all_tenants: Whether it is meant for every tenant, if the pipeline has a tenant middleware.
        writes: Whether a read-only middleware refuses it.

    Raises:
        ReadOnlyError, TenantContextError: It is refused; hooks see that, too.
    """

    def run() -> T:
        for layer in list(layers(pipeline))[1:]:
            if isinstance(layer, Pipeline):  # the first member of a fallback, which has hooks of its own
                return operate(layer, operation, call, all_tenants=all_tenants, writes=writes)
            error = _refused_by(layer, operation, all_tenants=all_tenants, writes=writes)
            if error is not None:
                raise error
        return call()

    return pipeline.run_with_hooks(operation, "", run)


def refuse_early(pipeline: Pipeline, operation: str, *, all_tenants: bool) -> None:
    """Raise what `operate` would raise, seen by hooks; do nothing if it would run.

    Raises:
        ReadOnlyError, TenantContextError: It is refused.
    """
    if any(_refused_by(layer, operation, all_tenants=all_tenants) for layer in layers(pipeline)):
        operate(pipeline, operation, lambda: None, all_tenants=all_tenants)


def _refused_by(
    layer: Any, operation: str, *, all_tenants: bool, writes: bool = True
) -> StrongroomError | None:
    if writes and isinstance(layer, ReadOnlyMiddleware):
        return ReadOnlyError(
            f"cannot {operation}: this pipeline is read-only",
            hint="write through another pipeline, or remove the read-only middleware from this one",
        )
    if isinstance(layer, TenantMiddleware) and not all_tenants:
        return TenantContextError(
            f"{operation} concerns the secrets of all tenants", hint="give --all-tenants if that is intended"
        )
    return None


def encryption_of(pipeline: Pipeline) -> EncryptionMiddleware | None:
    """Return the outermost encryption of a pipeline, None where there is none."""
    return next((layer for layer in layers(pipeline) if isinstance(layer, EncryptionMiddleware)), None)


def rekey_values(
    pipeline: Pipeline,
    encryption: EncryptionMiddleware,
    *,
    all_tenants: bool = False,
    progress: Progress | None = None,
) -> int:
    """Encrypt what an encryption of a pipeline wrote with the first of its keys; return how many values.

    If the pipeline has a tenant middleware, this is done within the active tenant, or within each.

    Raises:
        TenantContextError: There is such a middleware, no tenant is active, and `all_tenants` is not set.
        DecryptionError: A value does not decrypt; those before it are written.
        ConflictError: A rotation in flight has staged a version under an older key; all else is written.
    """
    return sum(
        _within_tenants(
            pipeline,
            lambda: encryption.rekey_keys(_keys(pipeline, encryption), progress),
            all_tenants=all_tenants,
        )
    )


def refuse_staged(pipeline: Pipeline, encryption: EncryptionMiddleware, *, all_tenants: bool = False) -> None:
    """Raise if `rekey_values` would leave a secret as it is; write nothing.

    Raises:
        ConflictError: A rotation in flight has staged a version under an older key.
    """
    _within_tenants(
        pipeline, lambda: encryption.refuse_staged(_keys(pipeline, encryption)), all_tenants=all_tenants
    )


def refuse_unreadable(
    pipeline: Pipeline, encryption: EncryptionMiddleware, *, all_tenants: bool = False
) -> None:
    """Raise if a value would end `rekey_values`; write nothing.

    Raises:
        DecryptionError: It does not decrypt.
    """
    _within_tenants(
        pipeline, lambda: encryption.refuse_unreadable(_keys(pipeline, encryption)), all_tenants=all_tenants
    )


def _within_tenants(pipeline: Pipeline, call: Callable[[], T], *, all_tenants: bool) -> list[T]:
    """Return what `call` returns within each tenant, or once; the first conflict is raised after all."""
    tenants = _tenants(pipeline) if all_tenants else None
    if tenants is None:
        return [call()]
    returned: list[T] = []
    conflict: ConflictError | None = None
    for tenant in tenants:
        with TenantContext(tenant):
            try:
                returned.append(call())
            except ConflictError as error:
                conflict = conflict or error
    if conflict is not None:
        raise conflict
    return returned


def _tenants(pipeline: Pipeline) -> list[str] | None:
    """Return the tenants that have secrets, None if the pipeline has no tenant middleware."""
    found = [layer for layer in layers(pipeline) if isinstance(layer, TenantMiddleware)]
    return found[-1].tenants() if found else None


def _keys(pipeline: Pipeline, encryption: EncryptionMiddleware) -> list[str]:
    """Return the names by which an encryption knows the secrets that can be listed.

    They include the records that rotations keep beside secrets, which are in no list: otherwise a rotation in
    progress could not be ended. The caller passes over a name under which there is nothing.
    """
    above: list[RenamingMiddleware] = []
    top: Any = None
    for layer in layers(pipeline):
        if isinstance(layer, Pipeline):
            continue
        top = layer if top is None else top
        if layer is encryption:
            break
        if isinstance(layer, RenamingMiddleware):
            above.append(layer)
    listed: list[str] = top.list_secrets("")
    keys = [name for key in listed for name in (key, record_key(key))]
    for layer in above:
        keys = [layer.stored(key) for key in keys]
    return keys
