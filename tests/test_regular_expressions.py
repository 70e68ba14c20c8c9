"""What regular expressions of ours leave out, since a Python that we support does it wrongly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_POSSESSIVE_GROUP = re.compile(r"(?<!\()\)(?:[*+?]|\{[0-9,]+\})\+")


@pytest.mark.parametrize("pattern", ["(?:a b)*+", "(a){0,6}+", "(?:a)?+b", "(a)++"])
def test_a_possessive_group_is_seen(pattern):
    assert _POSSESSIVE_GROUP.search(pattern)


@pytest.mark.parametrize("pattern", ["(?:[0-9]++ b)*", "a++", "[)]*", "(?>(?:a b)*)", "()*+,"])
def test_others_are_not(pattern):
    assert not _POSSESSIVE_GROUP.search(pattern)


def test_no_group_is_possessive():
    """Before Python 3.11.5, a group that fails midway keeps what it has read (gh-106052); `(?>(?:…)*)` does not."""
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    assert len(sources) > 300
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _POSSESSIVE_GROUP.search(line)
    ]
    assert found == []
