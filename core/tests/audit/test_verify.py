"""Six kinds of tampering, each found, with the line that it was done to; what nobody touched always verifies."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import verify_audit_log
from strongroom.errors import AuditError, ConfigurationError

ENTRIES = 40


@pytest.fixture
def written(trail):
    """A log of `ENTRIES` lines of all kinds that is whole, and nobody's any more."""
    for at in range(ENTRIES - 3):
        if at % 5 == 0:
            trail.registry.set_secret(f"key/{at}", "1")
        else:
            trail.read()
    trail.registry.get_secrets(["a", "b", "c"])
    trail.hook.close()
    assert (trail.verify().ok, trail.verify().anchored, trail.verify().entries) == (True, True, ENTRIES)
    return trail


def changed(lines, rng):
    """Change one byte of one line, or a member of it as somebody would who knows JSON."""
    at = rng.randrange(len(lines))
    line = lines[at]
    if rng.random() < 0.5:
        place = rng.randrange(len(line) - 1)
        byte = rng.choice([one for one in range(256) if one not in {line[place], 10}])
        lines[at] = line[:place] + bytes([byte]) + line[place + 1 :]
    else:
        entry = json.loads(line)
        entry[rng.choice(["key", "actor", "outcome", "tenant", "pid", "seq", "prev", "mac"])] = "0" * 64
        lines[at] = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    return at + 1


def removed(lines, rng):
    """Take out one line or several, but not the last."""
    count = rng.choice([1, 1, 2, 5])
    at = rng.randrange(len(lines) - count)
    del lines[at : at + count]
    return at + 1


def reordered(lines, rng):
    """Let two lines change places."""
    one, other = sorted(rng.sample(range(len(lines)), 2))
    lines[one], lines[other] = lines[other], lines[one]
    return one + 1


def inserted(lines, rng):
    """Put in a line that never was, as it might be."""
    at = rng.randrange(len(lines))
    entry = json.loads(rng.choice(lines))
    entry["id"], entry["actor"] = "f" * 32, "mallory"
    lines.insert(at, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
    return at + 1


def duplicated(lines, rng):
    """Put in a line that was, again, somewhere behind itself."""
    at = rng.randrange(len(lines))
    place = rng.randrange(at + 1, len(lines) + 1)
    lines.insert(place, lines[at])
    return place + 1


def cut(lines, rng):
    """Take off the end, between two lines or within one."""
    at = rng.randrange(len(lines))
    rest = lines[at][: rng.randrange(len(lines[at]))]
    lines[at:] = [rest] if rest else []
    return at + 1


KINDS = [changed, removed, reordered, inserted, duplicated, cut]


def tamper(trail, kind, seed):
    """Tamper and return what verification says, and the line that it should name."""
    lines = list(trail.whole)
    expected = kind(lines, random.Random(f"{kind.__name__} {seed}"))
    trail.path.write_bytes(b"".join(lines))
    return trail.verify(), expected


def found(trail, kind, times):
    trail.whole = trail.lines()
    for seed in range(times):
        report, expected = tamper(trail, kind, seed)
        assert (report.ok, report.anchored, report.first_bad_line) == (False, False, expected), (seed, report)
        assert report.reason
        assert report.entries == expected - 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_tampering_is_found_at_its_line(written, kind):
    found(written, kind, 40)


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_tampering_is_found_at_its_line_200_times(written, kind):
    found(written, kind, 200)


def test_what_happened_is_told(written):
    lines = written.lines()

    def report(*changed_lines):
        written.path.write_bytes(b"".join(changed_lines))
        return written.verify()

    assert "changed" in report(*lines[:3], lines[3].replace(b'"ok"', b'"no"'), *lines[4:]).reason
    assert report(*lines[:3], *lines[5:]).reason == "entries 4 to 5 are missing here: removed"
    assert "moved to line 7" in report(*lines[:3], *lines[4:7], lines[3], *lines[7:]).reason
    assert "entry 3 again" in report(*lines[:4], lines[2], *lines[4:]).reason
    assert report(*lines[:-1]).reason == f"entry {ENTRIES} is missing: cut off the end"


def test_a_line_of_another_log_under_the_same_key(make_trail, tmp_path):
    one, other = (make_trail(path=tmp_path / f"{name}.jsonl", key="key") for name in ("one", "other"))
    one.read(3)
    other.read(3)
    lines = one.lines()
    one.path.write_bytes(b"".join([lines[0], other.lines()[1], lines[2]]))
    report = one.verify(key="key")
    assert (report.ok, report.first_bad_line) == (False, 2)
    assert "another log" in report.reason


# --- the head ---


def test_a_head_that_is_missing(written):
    written.head.unlink()
    report = written.verify()
    assert (report.ok, report.anchored, report.first_bad_line) == (True, False, None)
    assert "no head" in report.reason


@pytest.mark.parametrize("record", [b"x" * 512, b"{}\n", b'{"head":1,"tag":"' + b"0" * 64 + b'"}\n'])
def test_a_head_that_was_replaced(written, record):
    written.head.write_bytes(record)
    report = written.verify()
    assert (report.ok, report.anchored, report.first_bad_line) == (False, False, None)
    assert "head was changed" in report.reason


def test_every_byte_of_a_head_counts(written):
    record = written.head.read_bytes()
    for at in range(len(record.rstrip())):
        written.head.write_bytes(record[:at] + bytes([record[at] ^ 4]) + record[at + 1 :])
        assert not written.verify().ok


def test_an_older_head_put_back(make_trail):
    trail = make_trail()
    trail.read(3)
    older = trail.head.read_bytes()
    trail.read(3)
    newer = trail.head.read_bytes()
    trail.head.write_bytes(older)
    report = trail.verify()
    assert (report.ok, report.anchored) == (True, False)
    assert "3 entries behind" in report.reason
    trail.head.write_bytes(newer)
    assert trail.verify().anchored


def test_the_head_of_another_log_under_the_same_key(make_trail, tmp_path):
    one, other = (make_trail(path=tmp_path / f"{name}.jsonl", key="key") for name in ("one", "other"))
    one.read(3)
    other.read(3)
    one.head.write_bytes(other.head.read_bytes())
    assert not one.verify(key="key").ok


def test_a_head_beside_a_log_that_is_gone(written):
    written.path.unlink()
    report = written.verify()
    assert (report.ok, report.first_bad_line, report.entries) == (False, 1, 0)
    assert "cut off the end" in report.reason


def test_an_anchor_kept_elsewhere(make_trail):
    trail = make_trail()
    trail.read(3)
    anchor = trail.verify().head
    lines, head = trail.lines(), trail.head.read_bytes()
    trail.read(3)
    assert trail.verify(expect_head=anchor).ok
    later = trail.verify().head
    # Log and head put back together to an older state: only the anchor tells.
    trail.path.write_bytes(b"".join(lines))
    trail.head.write_bytes(head)
    assert trail.verify().ok
    report = trail.verify(expect_head=later)
    assert (report.ok, report.anchored) == (False, False)
    assert "expected head" in report.reason
    trail.head.unlink()
    assert not trail.verify().anchored
    assert trail.verify(expect_head=anchor.upper()).anchored


@pytest.mark.parametrize("nothing", ["", "0" * 64])
def test_an_anchor_that_anchors_nothing_is_none(make_trail, nothing):
    trail = make_trail()
    trail.read(3)
    report = trail.verify(expect_head=nothing)
    assert (report.ok, report.anchored) == (False, False)
    assert "expected head" in report.reason


# --- keys and files ---


def test_a_log_does_not_verify_under_another_key(written):
    report = written.verify(key="another")
    assert (report.ok, report.first_bad_line) == (False, 1)
    assert "key" in report.reason


def test_no_log_no_key_no_file(tmp_path, written):
    with pytest.raises(ConfigurationError, match="no audit log"):
        verify_audit_log(tmp_path / "none.jsonl", "key")
    written.key.unlink()
    with pytest.raises(ConfigurationError, match="no key"):
        written.verify()
    written.path.unlink()
    os.mkfifo(written.path)
    with pytest.raises(ConfigurationError, match="not an ordinary file"):
        written.verify(key="key")
    written.path.unlink()
    written.path.mkdir()
    with pytest.raises((AuditError, ConfigurationError)):
        written.verify(key="key")


def test_an_empty_log_verifies(trail):
    trail.registry.hooks = None
    trail.read()
    trail.hook.close()
    for path in (trail.path, trail.head):
        path.write_bytes(b"")
    report = trail.verify()
    assert (report.ok, report.entries, report.anchored) == (True, 0, False)


def test_a_line_without_an_end_does_not_take_the_memory(written):
    with written.path.open("ab") as file:
        file.truncate(written.path.stat().st_size + (64 << 20))
    report = written.verify()
    assert report.entries == ENTRIES


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_whatever_stands_in_a_log_verification_answers(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "audit.jsonl"
    path.write_bytes(data)
    report = verify_audit_log(path, "key")
    assert report.ok is (b"\n" not in data)
    assert report.entries == 0


# --- keys ---


@pytest.mark.parametrize("read", [Path.read_text, Path.read_bytes])
def test_a_key_may_be_given_as_it_stands_in_its_file(make_trail, read):
    trail = make_trail()
    trail.read(2)
    content = read(trail.key)
    assert content != content.strip()
    assert verify_audit_log(trail.path, content).ok
    make_trail(key=content).read()
    assert verify_audit_log(trail.path, content.strip()).ok


def test_bytes_that_are_a_mistyped_key_are_refused(make_trail):
    trail = make_trail()
    trail.read()
    with pytest.raises(ConfigurationError):
        verify_audit_log(trail.path, trail.key.read_bytes()[:-3])
