"""The pages in docs/decisions/ have one form, that of its template.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DECISIONS = Path(__file__).parent.parent / "docs" / "decisions"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))
HEAD = re.compile(
    r"# (?P<number>\d{4})\. \S.+\n\nStatus: (accepted|replaced by \[\d{4}\])[^\n]*\nDate: \d{4}-\d\d-\d\d\n\n## Context\n\n\S"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_decision_has_the_form_of_the_template(page):
    text = page.read_text(encoding="utf-8")
    head = HEAD.match(text)
    assert head is not None, "see docs/decisions/template.md"
    assert page.name.startswith(head["number"])
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert parts in (
        ["Context", "Decision", "Consequences"],
        ["Context", "Alternatives", "Decision", "Consequences"],
        ["Context", "Decision", "Alternatives", "Consequences"],
    )


def test_the_template_has_it_too():
    text = (
        (DECISIONS / "template.md")
        .read_text(encoding="utf-8")
        .replace("NNNN", "0000")
        .replace("YYYY-MM-DD", "2026-01-01")
    )
    assert HEAD.match(text)


def test_numbers_are_given_once():
    numbers = [page.name[:4] for page in PAGES]
    assert len(numbers) == len(set(numbers))
