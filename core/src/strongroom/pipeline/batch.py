"""Reading many keys of a provider that has no batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from strongroom.errors import SecretNotFoundError
from strongroom.parallel import in_parallel
from strongroom.providers import BatchReader, SecretProvider

__all__ = ["read_many"]


_PARALLEL_READS = 8


def read_many(provider: SecretProvider, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of those of `keys` that are there: in one batch, else in parallel.

    Raises:
        SecretNotFoundError: One of them is not there for another reason than `absent`.
    """
    if isinstance(provider, BatchReader):
        return provider.get_secrets(keys)
    values = in_parallel(partial(_or_absent, provider), keys, _PARALLEL_READS)
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


def _or_absent(provider: SecretProvider, key: str) -> str | None:
    try:
        return provider.get_secret(key)
    except SecretNotFoundError as error:
        if error.reason != "absent":
            raise
        return None
