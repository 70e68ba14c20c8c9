"""The text of a path is as `pathlib` writes it, with `pathlib` or without."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from strongroom.paths import plain_path

PIECES = ("", ".", "..", "/", "//", "a", "b.c", ".hidden", "~", "ä", "\n")


def test_the_text_of_a_path_is_as_pathlib_writes_it():
    texts = {"/".join(pieces) for many in range(1, 4) for pieces in itertools.product(PIECES, repeat=many)}
    texts |= {"".join(pieces) for pieces in itertools.product(PIECES, repeat=3)}
    assert len(texts) > 1000
    for text in texts:
        assert plain_path(text) == plain_path(Path(text)) == str(Path(text)), repr(text)


def test_bytes_are_refused_as_pathlib_does():
    with pytest.raises(TypeError):
        plain_path(b"a")
