"""Tables on terminals of any width: nothing is lost. And what is said of progress."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom.cli import output
from strongroom.cli.app import run_app
from strongroom.cli.drawing import _width, drawn_table

AUDIT = ["time", "actor", "operation", "key", "tenant", "pipeline", "outcome", "error"]
ROW = ["2026-11-28 15:20:01", "root", "get_secret", "database/password", "", "app", "ok", ""]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_an_audit_trail_can_be_read(columns):
    lines = list(drawn_table(AUDIT, [ROW], columns=columns, bold=False))
    assert max(map(len, lines)) <= columns
    text = "".join("".join(lines).split())
    for word in ("2026-11-28", "15:20:01", "database/", "password"):
        assert word in text


def test_words_stay_whole_where_another_column_has_more_to_give():
    """A time wraps between day and hour before a key is broken in two."""
    row = ["2026-11-28 15:20:01Z", "root", "get", "DATABASE_PASSWORD", "ok", "backend", "app"]
    lines = list(
        drawn_table(
            ["time", "actor", "operation", "key", "outcome", "source", "pipeline"],
            [row],
            columns=80,
            bold=False,
        )
    )
    assert max(map(len, lines)) <= 80
    assert any("DATABASE_PASSWORD" in line for line in lines)
    assert any("15:20:01Z" in line for line in lines)


@settings(max_examples=50)
@given(
    st.integers(20, 100),
    st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=3, max_size=3), max_size=3),
)
def test_nothing_is_lost_and_nothing_is_wider_than_the_terminal(columns, rows):
    lines = list(drawn_table(["a", "b", "c"], rows, columns=columns, bold=False))
    assert all(_width(line) <= columns for line in lines)
    assert all(line.isprintable() for line in lines)
    for character in {character for row in rows for cell in row for character in cell if character.isalnum()}:
        assert any(character in line or ascii(character)[1:-1] in line for line in lines)


def test_a_table_that_fits_is_a_line_a_row():
    assert list(drawn_table(["key", "state"], [["a", "ok"], ["long/one", "-"]], columns=60, bold=True)) == [
        "\x1b[1mkey       state\x1b[0m",
        "a         ok",
        "long/one  -",
    ]


def test_progress_has_a_last_word_where_it_is_interrupted(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)

    def work():
        with output.progress("copying") as advance:
            advance(3, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert said.getvalue() == "copying: interrupted after 3 of 10\n"


def test_progress_that_is_interrupted_at_once_says_that_nothing_was_done(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)

    def work():
        with output.progress("reading .env"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert said.getvalue() == "reading .env: interrupted before anything was done\n"


def test_progress_is_a_line_on_a_terminal_and_gone_at_the_end(monkeypatch):
    said = io.StringIO()
    said.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", said)
    with output.progress("copying") as advance:
        for done in range(1, 501):
            advance(done, 500)
    assert said.getvalue().count("\r") == 102
    assert said.getvalue().endswith("copying: 100 % of 500\x1b[K\r\x1b[K")


def test_a_time_is_short_on_a_terminal_and_exact_elsewhere(monkeypatch):
    at = datetime(2026, 11, 29, 12, 3, 4, 567890, timezone(timedelta(hours=1)))
    assert output.moment(at) == "2026-11-29T12:03:04.567890+01:00"
    assert output.moment(at, timespec="seconds") == "2026-11-29T12:03:04+01:00"
    monkeypatch.setattr(output, "is_drawn", lambda: True)
    assert output.moment(at) == output.moment(at, timespec="seconds") == "2026-11-29 11:03:04Z"


@pytest.mark.parametrize("words", [["trust", "--list"], ["history", "a"]])
def test_the_times_of_tables_are_whole_on_a_narrow_terminal(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_app(["init"]) == 0
    assert run_app(["--quiet", "set", "a", "value"]) == 0
    monkeypatch.setattr(output, "is_drawn", lambda: True)
    monkeypatch.setattr(output, "_columns", lambda: 100)
    capsys.readouterr()
    assert run_app(words) == 0
    assert re.search(r"  20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  ", capsys.readouterr().out)


def test_a_terminal_shows_the_lines_of_a_table_that_a_pipe_gets(monkeypatch):
    """So the pages of the documentation show what a reader sees."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    written = {}
    for terminal in (False, True):
        lines = []
        monkeypatch.setattr(output, "is_drawn", lambda terminal=terminal: terminal)
        monkeypatch.setattr(output, "lines", lines.extend)
        output.table(["key", "last error"], [["a", "-"], ["long/one", "down"]])
        written[terminal] = lines
    assert ["KEY       LAST ERROR", "a         -", "long/one  down"] == written[False] == written[True]
