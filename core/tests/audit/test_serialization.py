"""Lines are JSON of exactly the event's members, whatever text those hold; the MACs are HMAC-SHA256's."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import holds_for
from strongroom import SecretEvent
from strongroom.audit.chain import GENESIS, HEAD_BYTES, Chain, Head, Mac
from strongroom.audit.serialization import process_identity, serialize_event, serialize_note
from strongroom.hooks.identity import build_service, coding_tool

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
MAYBE = st.none() | ANY_TEXT
EVENTS = st.builds(
    SecretEvent,
    id=ANY_TEXT,
    operation=ANY_TEXT,
    key=ANY_TEXT,
    pipeline=MAYBE,
    tenant=MAYBE,
    actor=ANY_TEXT,
    started_at=st.datetimes(timezones=st.just(UTC)),
    duration=st.none() | st.floats(0, 1e6),
    outcome=MAYBE,
    source=MAYBE,
    error_type=MAYBE,
)


@holds_for(EVENTS, MAYBE, MAYBE)
def test_a_line_says_exactly_what_the_event_says(event, reason, batch):
    text = serialize_event(event, process_identity(), reason, batch)
    assert text.isascii()
    assert not {"\n", "\r"} & set(text)
    entry = json.loads(f"{text}}}")
    for member in SecretEvent.__dataclass_fields__:
        if member == "started_at":
            assert datetime.fromisoformat(entry[member]) == event.started_at
        elif member == "duration":
            assert entry[member] == pytest.approx(event.duration, abs=1e-6)
        else:
            assert entry[member] == getattr(event, member)
    assert (entry["reason"], entry["batch"]) == (reason, batch)
    assert list(entry)[11:] == ["user", "pid", "host", "ci", "tool", "reason", "batch"]


@holds_for(EVENTS, st.integers(1, 10**17), st.binary(min_size=1, max_size=100))
def test_a_sealed_line_is_found_to_be_ours_and_no_other_is(event, seq, key):
    chain = Chain(key)
    line, mac = chain.seal(serialize_event(event, process_identity(), None), seq, GENESIS)
    assert json.loads(line)["mac"] == mac
    link = chain.link(line[:-1])
    assert (link.seq, link.prev, link.mac) == (seq, GENESIS, mac)
    assert Chain(b"other" + key).link(line[:-1]) is None
    at = seq % (len(line) - 1)
    assert chain.link(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 : -1]) is None


def test_a_key_that_is_no_text_or_far_too_long_does_not_stop_the_log():
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for key, expected in ((None, "a NoneType"), ("x" * 5000, f"{'x' * 1024}… (5000 characters)")):
        event = SecretEvent("1", "get", key, "app", None, "me", when)
        assert json.loads(serialize_event(event, process_identity(), None) + "}")["key"] == expected


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.binary(max_size=300))
def test_the_mac_is_hmac_sha256(key, begin, end):
    expected = hmac.new(key, begin + end, hashlib.sha256).hexdigest()
    assert Mac(key).of(begin + end) == expected
    assert Mac(key).after(begin).of(end) == expected


def test_a_head_fits_one_sector_and_comes_back_as_it_was():
    chain = Chain(b"key")
    largest = Head(10**18 - 1, "a" * 64, 10**15, 10**18 - 1, "b" * 64, f"{2**32}:{2**63}")
    record = chain.anchor(largest.first, largest.prev, largest.file).pack(
        largest.seq, largest.mac, largest.size
    )
    assert len(record) == HEAD_BYTES
    assert chain.unpack(record) == largest
    for at in range(0, 400, 7):
        assert chain.unpack(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]) is None
    assert Chain(b"other").unpack(record) is None
    assert chain.unpack(b"") is None


def test_a_head_is_no_line_and_a_line_no_head():
    """They have keys of their own, so that one cannot stand in for the other."""
    chain = Chain(b"key")
    assert chain._lines.of(b"x") != chain._heads.of(b"x")


def test_a_note_keeps_the_members_of_an_event():
    event = SecretEvent("1", "note", "", None, None, "me", datetime(2026, 1, 1, tzinfo=UTC))
    entry = json.loads(serialize_note(event, process_identity(), {"what": "head"}) + "}")
    assert (entry["operation"], entry["note"], entry["outcome"]) == ("note", {"what": "head"}, None)


@pytest.mark.parametrize(
    ("environ", "service", "tool"),
    [
        ({}, None, None),
        ({"CI": "true"}, "ci", None),
        ({"CI": "false"}, None, None),
        ({"CI": "true", "GITHUB_ACTIONS": "true"}, "github-actions", None),
        ({"GITLAB_CI": "true"}, "gitlab-ci", None),
        ({"JENKINS_URL": "http://ci"}, "jenkins", None),
        ({"CLAUDECODE": "1"}, None, "claude-code"),
        ({"CURSOR_TRACE_ID": "x"}, None, "cursor"),
        ({"AI_AGENT": "some-tool/1.2"}, None, "some-tool/1.2"),
        ({"AGENT": "not a name\n"}, None, None),
    ],
)
def test_build_services_and_coding_tools_are_told_by_their_variables(environ, service, tool):
    assert (build_service(environ), coding_tool(environ)) == (service, tool)
