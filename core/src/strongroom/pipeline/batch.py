"""Reading and describing many keys, even of a provider without batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from strongroom.errors import SecretNotFoundError
from strongroom.parallel import in_parallel, present_in_parallel
from strongroom.providers import BatchDescriber, BatchReader, Describer, SecretMetadata, SecretProvider

__all__ = ["describe_many", "read_many"]


_PARALLEL_READS = 8


def read_many(provider: SecretProvider, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of those of `keys` that are there: in one batch, else in parallel.

    Raises:
        SecretNotFoundError: One of them is not there for another reason than `absent`.
    """
    if isinstance(provider, BatchReader):
        return provider.get_secrets(keys)
    return present_in_parallel(provider.get_secret, keys, _PARALLEL_READS)


def describe_many(provider: Describer, keys: Sequence[str]) -> dict[str, SecretMetadata]:
    """Return the descriptions of those of `keys` that readers find: in one batch, else in parallel."""
    if isinstance(provider, BatchDescriber):
        return provider.describe_secrets(keys)
    found = in_parallel(partial(_described, provider), keys, _PARALLEL_READS)
    return {key: metadata for key, metadata in zip(keys, found, strict=True) if metadata is not None}


def _described(provider: Describer, key: str) -> SecretMetadata | None:
    try:
        return provider.describe_secret(key)
    except SecretNotFoundError:
        return None
