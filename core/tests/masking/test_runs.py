"""Runs of what base64 and lists of numbers are made of are found where `bytes.find` finds them."""

from __future__ import annotations

import random

from strongroom.masking.origins import LEAST, RUN, Runs


def test_runs_are_where_looking_for_ones_alone_finds_them() -> None:
    chance = random.Random(17)
    sizes = (1, 2, LEAST - 1, LEAST, LEAST + 1, 3 * LEAST)
    for _ in range(300):
        marked = b"".join(bytes([chance.random() < 0.6]) * chance.choice(sizes) for _ in range(9))
        runs, at = Runs(marked), 0
        while at <= len(marked):
            assert runs.first(at) == marked.find(RUN, at)
            at += chance.choice((1, 5, LEAST, LEAST + 8))


def test_a_run_that_began_before_is_found_from_within() -> None:
    runs = Runs(b"\0" + RUN + RUN + b"\0\0" + RUN)
    assert [runs.first(at) for at in (0, 3, 23, 24, 60)] == [1, 3, 23, 47, -1]
