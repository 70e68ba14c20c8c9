"""Reading, describing and writing many keys, even of a provider without batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from strongroom.errors import InvalidKeyError, SecretNotFoundError, UnsupportedOperationError, ValidationError
from strongroom.keys import check_value
from strongroom.parallel import in_parallel, present_in_parallel
from strongroom.pipeline.operations import check_user_key

if TYPE_CHECKING:
    from strongroom.providers import Describer, SecretMetadata, SecretProvider

    _Describe = Callable[[Sequence[str]], dict[str, SecretMetadata]]

__all__ = ["PARALLEL_READS", "describe_many", "read_many", "refused_first", "write_many"]


PARALLEL_READS: Final = 8
"""Reads at the same time of a backend without batches."""


def read_many(provider: SecretProvider, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of those of `keys` that are there: in one batch, else in parallel.

    Raises:
        SecretNotFoundError: One of them is not there for another reason than `absent`.
    """
    batch: Callable[[Sequence[str]], dict[str, str]] | None = getattr(provider, "get_secrets", None)
    if batch is not None:
        # A provider may have the method for a server, or a program, that turns out not to have it.
        with suppress(UnsupportedOperationError):
            return batch(keys)
    return present_in_parallel(provider.get_secret, keys, PARALLEL_READS)


def describe_many(provider: Describer, keys: Sequence[str]) -> dict[str, SecretMetadata]:
    """Return the descriptions of those of `keys` that readers find: in one batch, else in parallel."""
    batch: _Describe | None = getattr(provider, "describe_secrets", None)
    if batch is not None:
        with suppress(UnsupportedOperationError):  # as in `read_many`
            return batch(keys)
    found = in_parallel(partial(_described, provider), keys, PARALLEL_READS)
    return {key: metadata for key, metadata in zip(keys, found, strict=True) if metadata is not None}


def write_many(
    provider: SecretProvider, values: Mapping[str, str], written: Callable[[str], object] = lambda _: None
) -> None:
    """Write all `values`: in one batch, else one after the other, those that no backend takes first.

    Args:
        provider: Where they go.
        values: The values by key.
        written: Called with each key that was written by itself.
    """
    batch: Callable[[Mapping[str, str]], None] | None = getattr(provider, "set_secrets", None)
    if batch is not None:
        with suppress(UnsupportedOperationError):  # as in `read_many`
            batch(values)
            return
    for key in refused_first(values):
        provider.set_secret(key, values[key])
        written(key)


def refused_first(values: Mapping[str, str]) -> list[str]:
    """Return the keys of `values`, first those that every backend refuses, for their form or their value.

    A caller that writes in this order gets the error before anything is written.
    """
    return sorted(values, key=lambda key: _is_valid(key, values[key]))


def _is_valid(key: str, value: str) -> bool:
    try:
        check_value(value, check_user_key(key))
    except (InvalidKeyError, ValidationError, TypeError):
        return False
    return True


def _described(provider: Describer, key: str) -> SecretMetadata | None:
    try:
        return provider.describe_secret(key)
    except SecretNotFoundError:
        return None
