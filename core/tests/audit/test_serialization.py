"""Lines are JSON of exactly the event's members, whatever text those hold; the MACs are HMAC-SHA256's."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import holds_for
from strongroom import SecretEvent
from strongroom.audit import serialization
from strongroom.audit.chain import GENESIS, HEAD_BYTES, Chain, Head, Mac
from strongroom.audit.serialization import process_identity, serialize_event, serialize_note
from strongroom.errors import show_key
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


def spelled_out(event, who, reason, batch):
    """Return the same line with nothing remembered: each member made by `json`, each time by `isoformat`."""

    def text(member):
        shown = member if isinstance(member, str) else show_key(member)
        return json.dumps(shown if len(shown) <= 1024 else f"{shown[:1024]}… ({len(shown)} characters)")

    duration = "null" if event.duration is None else f"{event.duration:.6f}"
    return ",".join([
        f'{{"id":{json.dumps(event.id)}',
        f'"operation":{json.dumps(event.operation)}',
        f'"key":{text(event.key)}',
        f'"pipeline":{json.dumps(event.pipeline)}',
        f'"tenant":{json.dumps(event.tenant)}',
        f'"actor":{text(event.actor)}',
        f'"started_at":"{event.started_at.isoformat()}"',
        f'"duration":{duration}',
        f'"outcome":{json.dumps(event.outcome)}',
        f'"source":{json.dumps(event.source)}',
        f'"error_type":{json.dumps(event.error_type)}',
        who,
        f'"reason":{"null" if reason is None else text(reason)}',
        f'"batch":{json.dumps(batch)}',
    ])  # fmt: skip


FEW = st.sampled_from(["a", "b", 'ä"\\\n\u2028\x00\ud800', "😀" * 200, "a" * 1024, "x" * 5000])
NOT_TEXT = st.sampled_from([1, True, 1.0, None, b"a", ["a"], {"a": 1}])
NEAR = st.sampled_from([0, 1, 999_999, 10**6, 10**6 + 7, -1, 3 * 10**6, 86_400 * 10**6 + 7])
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), None])
CLOSE = st.builds(
    lambda micro, zone: datetime(2026, 3, 1, 23, 59, 58, tzinfo=zone) + timedelta(microseconds=micro),
    NEAR | st.integers(-(10**14), 10**14),
    ZONES,
)
LIKE_EACH_OTHER = st.builds(
    SecretEvent,
    id=FEW,
    operation=FEW,
    key=FEW | NOT_TEXT,
    pipeline=st.none() | FEW,
    tenant=st.none() | FEW,
    actor=FEW | NOT_TEXT.filter(lambda it: it is not None),
    started_at=CLOSE,
    duration=st.none() | st.floats(0, 1e6),
    outcome=st.sampled_from([None, "ok", "denied"]),
    source=st.sampled_from([None, "l1"]),
    error_type=st.sampled_from([None, "KeyError"]),
)


@holds_for(st.lists(st.tuples(LIKE_EACH_OTHER, st.none() | FEW | st.just(1), MAYBE), min_size=1, max_size=8))
def test_a_line_is_the_same_whatever_is_remembered_of_earlier_ones(written):
    """Texts and seconds are remembered: of each event twice, and of events that differ in one member."""
    for who in ('"user":"a"', process_identity()):
        for event, reason, batch in [*written, *written]:
            assert serialize_event(event, who, reason, batch) == spelled_out(event, who, reason, batch)


@pytest.mark.parametrize("seconds", [0, 0.25, 1, -1, 59, 86_400, -86_400, 366 * 86_400])
def test_a_time_is_that_of_isoformat_whatever_the_one_before(seconds):
    for micro in (0, 7, 999_999):
        before = datetime(2026, 2, 28, 23, 59, 59, micro, tzinfo=UTC)
        after = before + timedelta(seconds=seconds)
        for at in (before, after, before):
            assert serialization._time(at) == at.isoformat()


def test_what_is_remembered_of_keys_stays_small():
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(3000):
        serialize_event(SecretEvent("1", "get", f"key/{number}", "app", None, "me", when), "", None)
        assert len(serialization._begins) <= 1024
    serialize_event(SecretEvent("1", "get", "long" * 10**6, "app", None, "me", when), "", None)
    serialize_event(SecretEvent("1", "get", "a", "app", None, "me", when), "", "long" * 10**6)
    for long in ("\U0001f511" * 500, "\x00" * 1000, "long" * 500):  # each becomes longer, or was cut
        serialize_event(SecretEvent("1", "get", long, "app", None, "me", when), "", long)
    kept = [*serialization._begins.items(), *serialization._ends.items()]
    assert max(len(text) + sum(map(len, filter(None, members))) for members, text in kept) < 2_500


@holds_for(EVENTS, st.integers(1, 10**17), st.binary(min_size=1, max_size=100))
def test_a_sealed_line_is_found_to_be_ours_and_no_other_is(event, seq, key):
    chain = Chain(key)
    line, mac = chain.seal(serialize_event(event, process_identity(), None), seq, GENESIS)
    assert json.loads(line)["mac"] == mac
    link = chain.link(line[:-1])
    assert (link.seq, link.prev, link.mac) == (seq, GENESIS, mac)
    text = serialize_event(event, process_identity(), None).encode()
    begin = text + f',"seq":{seq},"prev":"{GENESIS}"'.encode()
    derived = hmac.digest(key, b"strongroom audit 1: lines", "sha256")
    assert line == begin + f',"mac":"{hmac.digest(derived, begin, "sha256").hex()}"}}\n'.encode()
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
