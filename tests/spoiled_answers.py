"""Answers of a loopback server that are spoiled, one at a time, on the way of each operation of a provider."""

from __future__ import annotations

from copy import deepcopy

from strongroom.errors import StrongroomError

__all__ = ["Spoiler", "spoiled_operations"]


class Spoiler:
    """Changes one of the good answers: the one that is the `place`th since `reset`."""

    def __init__(self):
        self.reset()

    def reset(self, place=None, make=None):
        self.place, self.make, self.good = place, make, []

    def __call__(self, status, body, headers):
        if status != 200:
            return status, body, headers
        self.good.append(body)
        if self.place == len(self.good) - 1:
            body = self.make(self.good[-1])
        return status, body, headers


def spoiled_operations(bench, provider, spoiler, operations, make):
    """Yield each operation with its good result, and what it gives when an answer on its way is one of `make`.

    The provider is one that reads one at a time: a batch that has failed would leave requests under way behind,
    which would count as the next operation's.
    """

    def fresh():
        spoiler.reset()
        bench.store.held.clear()
        bench.store.held.update(deepcopy(written))  # writing it takes more requests than the operation

    bench.server.spoil_with(spoiler)
    provider._connection.start()[0].pause = lambda _: None
    bench.store.held.clear()
    for key in ("k", "k_" + "x" * 300):
        provider.set_secret(key, "hunter2")
    written = deepcopy(bench.store.held)
    for number, operation in enumerate(operations):
        fresh()
        good = operation()
        for place, answer in enumerate(list(spoiler.good)):
            for what, body in make(answer):
                fresh()
                spoiler.reset(place, lambda _, body=body: body)
                try:
                    found = operation()
                except StrongroomError as error:
                    found = error
                yield f"{number} {place} {what}", good, found
