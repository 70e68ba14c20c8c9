"""Reads many secrets by few requests, and one by one those that no batch can return."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strongroom.parallel import in_parallel


def read_in_batches(
    keys: Sequence[str],
    batch: Callable[[Sequence[str]], tuple[dict[str, str], list[str]]],
    single: Callable[[str], str | None],
    *,
    alone: Callable[[str], bool],
    size: int,
    workers: int,
) -> dict[str, str]:
    """Return the values of those of `keys` that are there, in their order.

    Args:
        keys: Keys, each once.
        batch: Returns what one batch has, and the keys that must be asked for one by one.
        single: Returns the value of one key; None if it is not there.
        alone: Returns whether a key must not be in a batch.
        size: Keys of one batch.
        workers: Requests at a time.
    """
    singly = [key for key in keys if alone(key)]
    plain = [key for key in keys if not alone(key)]
    parts = [plain[start : start + size] for start in range(0, len(plain), size)]
    texts: dict[str, str | None] = {}
    for values, left in in_parallel(batch, parts, workers):
        texts |= values
        singly += left
    texts |= zip(singly, in_parallel(single, singly, workers), strict=True)
    return {key: value for key in keys if (value := texts.get(key)) is not None}
