"""Runs of what base64 and lists of numbers are made of are found where a pattern finds them."""

from __future__ import annotations

import random
import re

from strongroom.masking.origins import LEAST, RUN, Runs


def test_runs_begin_where_a_pattern_finds_them_and_go_on_to_their_end() -> None:
    chance = random.Random(17)
    sizes = (1, 2, LEAST - 1, LEAST, LEAST + 1, 3 * LEAST)
    for _ in range(300):
        marked = b"".join(bytes([chance.random() < 0.6]) * chance.choice(sizes) for _ in range(9))
        runs = Runs(marked)
        assert runs.begins == [one.start() for one in re.finditer(rb"\x01{%d,}" % LEAST, marked)]
        assert [runs.goes_on(at) for at in range(len(marked))] == [
            marked.find(RUN, at) == at for at in range(len(marked))
        ]
