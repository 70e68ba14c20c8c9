"""What CONTRIBUTING names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = [
    ROOT / "core/src/strongroom",
    ROOT / "plugins/file/src",
    ROOT / "plugins/file/src/strongroom_file/store",
]
WAYS = re.findall(
    r"^- (a read|a spec|`strongroom run`|a rotation|a `set` into the store): (.+)$",
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_there_is_a_way_for_each_of_the_five():
    assert len(WAYS) == 5


@pytest.mark.parametrize(("of", "line"), WAYS, ids=[of for of, _ in WAYS])
def test_where_to_read_first_are_five_files_that_are_there(of, line):
    files = re.findall(r"`([\w/]+\.py)`", line)
    assert len(files) == 5
    assert [file for file in files if not any((place / file).is_file() for place in PLACES)] == []
