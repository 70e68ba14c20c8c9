"""The last lines of a log, read from its end."""

from __future__ import annotations

import json

import pytest
from strongroom.audit import query
from strongroom.audit.query import entries, last_entries
from strongroom.errors import AuditError


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_they_are_those_that_all_lines_end_with(tmp_path, monkeypatch, block):
    monkeypatch.setattr(query, "_BLOCK", block)
    path = tmp_path / "audit.jsonl"
    lines = [json.dumps({"seq": number, "key": "k" * number}) + "\n" for number in range(30)]
    for text in ("", "\n", lines[0], "".join(lines), "".join(lines) + lines[3].rstrip("\n"), "no JSON\n"):
        path.write_text(text)
        whole = list(entries(str(path)))
        for count in (1, 2, 29, 30, 100):
            assert last_entries(str(path), count) == whole[-count:]


def test_blanks_by_which_a_writer_tests_the_disk_are_no_line(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"key":"a"}\n{"key":"b"}\n' + " " * 700)
    assert [entry["key"] for entry in last_entries(str(path), 1)] == ["b"]
    assert [entry["key"] for entry in last_entries(str(path), 2)] == ["a", "b"]


def test_one_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(AuditError):
        last_entries(str(tmp_path), 1)
    with pytest.raises(AuditError):
        last_entries(str(tmp_path / "none"), 1)
