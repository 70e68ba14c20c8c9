"""What providers over a vendor's client share."""

from __future__ import annotations

import base64
import html
import json
import socket
import ssl
import time
import urllib.parse
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom.clients import (
    backoff_delays,
    call_with_retries,
    is_permanent,
    parse_http_date,
    parse_retry_after,
    redact_message,
    redacted_copy,
    service_error,
    shut_down_socket,
    splits_login,
)
from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)

LEFT_OUT = "(its message holds the value and is left out)"


def run(*outcomes, seconds=60, is_retryable=lambda *_: True, asked=None, waited=None):
    """Send until an outcome is not an exception; the provider's errors say what was raised."""
    left = list(outcomes)

    def send():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call_with_retries(
        send,
        Deadline(seconds),
        translate=lambda error: BackendUnavailableError(f"ours of {error!r}"),
        is_retryable=is_retryable,
        retry_after=lambda _: asked,
        pause=(waited if waited is not None else []).append,
    )


def test_it_is_repeated_until_it_succeeds():
    waited = []
    assert run(OSError("1"), OSError("2"), "answer", waited=waited) == "answer"
    assert [round(each, 1) for each in waited] in ([0.1, 0.1], [0.1, 0.2])


def test_the_service_may_ask_for_more_time():
    waited = []
    assert run(OSError(), "answer", waited=waited, asked=7.0) == "answer"
    assert waited == [7.0]


def test_what_cannot_help_is_not_done():
    waited = []
    with pytest.raises(BackendUnavailableError, match="ours of OSError") as caught:
        run(OSError(), "answer", is_retryable=lambda *_: False, waited=waited)
    assert waited == []
    assert caught.value.__context__ is None


def test_a_pause_that_the_deadline_does_not_allow_is_not_made():
    waited = []
    with pytest.raises(BackendUnavailableError, match="ours of OSError"):
        run(OSError(), "answer", asked=61.0, waited=waited)
    assert waited == []


def test_what_the_service_said_tells_more_than_that_time_is_up():
    with pytest.raises(BackendUnavailableError, match="busy"):
        run(OSError("busy"), DeadlineExceededError())
    with pytest.raises(BackendUnavailableError, match="DeadlineExceededError"):
        run(DeadlineExceededError(), "answer")


def test_what_may_help_is_asked_of_both_errors():
    asked = []

    def is_retryable(failed, ours):
        asked.append((type(failed), type(ours)))
        return False

    with pytest.raises(StrongroomError):
        run(OSError(), is_retryable=is_retryable)
    assert asked == [(OSError, BackendUnavailableError)]


def test_pauses_grow_to_two_seconds():
    waits = backoff_delays()
    for longest in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert longest / 2 <= next(waits) <= longest


@pytest.mark.parametrize(
    ("said", "lasting"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", True),
        ("[Errno -2] Name or service not known", True),
        (
            "DNS resolution failed for x.invalid:443: C-ares status is not ARES_SUCCESS: Domain name not found",
            True,
        ),
        ("Temporary failure in name resolution", False),
        ("EOF occurred", False),
    ],
)
def test_what_no_repetition_helps(said, lasting):
    assert is_permanent(said) is lasting


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        ("1.5", 1.5),
        ("-1", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("inf", None),
        ("nan", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_not_at_all(text, seconds):
    assert parse_retry_after(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 31 Dec 99999999999999999999 00:00:00 GMT",
        "Fri, 31 Dec 99999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Fri, 31 Dec 2026 23:59:59 +99999999999999",
        "soon",
        "",
        None,
    ],
)
def test_a_date_that_no_calendar_has_is_none(text):
    assert parse_http_date(text) is None
    assert parse_retry_after(text) is None


def test_a_date_without_a_zone_is_in_utc(monkeypatch):
    """As C's `asctime` writes it, which a client has to understand (RFC 9110, 5.6.7)."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        date = parse_http_date("Sun Nov  6 08:49:37 1994")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert date == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_retry_after_as_a_date():
    seconds = parse_retry_after(formatdate(time.time() + 100, usegmt=True))
    assert seconds is not None
    assert 95 < seconds <= 100
    assert parse_retry_after(formatdate(0, usegmt=True)) == 0.0


@given(st.text(min_size=1), st.text(), st.text())
def test_nothing_of_a_message_that_holds_a_value_is_told(value, before, after):
    for form in (value, json.dumps(value)[1:-1], repr(value)):
        assert redact_message(before + form + after, None, value) == LEFT_OUT


@pytest.mark.parametrize("before", ["", "p", "pa", "pas"])
@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        lambda text: text.encode().hex(),
        urllib.parse.quote,
        urllib.parse.quote_plus,
        html.escape,
    ],
)
def test_nothing_of_a_message_that_holds_an_encoded_value_is_told(before, encoded):
    value = "cörrect <horse> & 'battery'??>"
    assert redact_message(f'403: blocked: {{"data": "{encoded(before + value)}"}}', None, value) == LEFT_OUT
    other = f'403: blocked: {{"data": "{encoded("another text of that kind")}"}}'
    assert redact_message(other, value) == other


@pytest.mark.parametrize("written", [str, json.dumps, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize("start", range(4))
def test_nothing_of_a_message_that_holds_a_part_of_a_value_is_told(written, start):
    value = 'the first line of a "secret"\nand the next,\twith more'
    for message in (
        f"too long: {written(value)[start : start + 30]}…",
        f"…{written(value)[-30 - start : -start or None]} is too long",
    ):
        assert redact_message(message, value) == LEFT_OUT
    assert redact_message("a line of it is too long", value) == "a line of it is too long"


@pytest.mark.parametrize("before", ["", "refused by a proxy: authorization: ", '{"Authorization":"'])
@pytest.mark.parametrize("token", ["eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", "ya29.a0-b_c~d+e/f" + "g" * 400 + "=="])
@pytest.mark.parametrize("word", ["Bearer", "bearer "])
def test_a_bearer_token_is_left_out_of_a_message(before, token, word):
    assert redact_message(f"{before}{word} {token}, more") == f"{before}{word.strip()} …, more"


def test_a_word_after_bearer_is_not_a_token():
    assert redact_message("Bearer authentication is required") == "Bearer authentication is required"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "fatal: unable to access 'https://me:hunter2@git/s.git/'",
            "fatal: unable to access 'https://…@git/s.git/'",
        ),
        ("https://ghp_hunter2@git/ is down", "https://…@git/ is down"),
        ("http://me:hun@ter2@h:1 and redis://:hunter2@h", "http://…@h:1 and redis://…@h"),
        ("see https://host/a?mail=me@host", "see https://host/a?mail=me@host"),
        ('unknown type: "AGE-SECRET-KEY-PQ-1HUNTER2"', 'unknown type: "AGE-SECRET-KEY-…"'),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----, more",
            "-----BEGIN RSA PRIVATE KEY-----…-----END RSA PRIVATE KEY-----, more",
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----…-----END PGP PRIVATE KEY BLOCK-----",
        ),
        ("bad: -----BEGIN PRIVATE KEY-----\nhunter2", "bad: -----BEGIN PRIVATE KEY-----…"),
        ("-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ],
)
def test_logins_and_private_keys_are_left_out_of_a_message(said, shown):
    assert redact_message(said) == shown


@given(st.text())
def test_a_message_is_one_short_line(said):
    message = redact_message(said, None, "")
    assert len(message) <= 300
    assert "\n" not in message


def test_a_copy_has_the_class_and_nothing_else():
    error = PermissionDeniedError("with a request")
    error.request = object()
    assert vars(redacted_copy(OSError("secret"), "cleaned")) == {}
    copied = redacted_copy(error, "cleaned")
    assert type(copied) is PermissionDeniedError
    assert not hasattr(copied, "request")


def test_a_class_that_wants_more_than_a_text_is_named():
    error = UnicodeDecodeError("utf-8", b"secret", 0, 1, "bad")
    assert str(redacted_copy(error, "cleaned")) == "builtins.UnicodeDecodeError: cleaned"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (PermissionDeniedError, "shop: reading 'a/b': 403, no"),
        (ThrottledError, "shop: reading 'a/b': 403, no"),
        (SecretNotFoundError, "secret 'a/b' not found"),
    ],
)
def test_a_services_error_says_who_did_what_with_which_key(kind, text):
    cause = RuntimeError("403, no")
    error = service_error(
        kind, "403, no", provider="shop", doing="reading", key="a/b", hint="ask", retry_after=2.0, cause=cause
    )
    assert type(error) is kind
    assert text in str(error)
    assert (error.key, error.provider) == ("a/b", "shop")
    assert error.__cause__ is cause
    assert getattr(error, "retry_after", None) == (2.0 if kind is ThrottledError else None)
    without_key = service_error(kind, "503", provider="shop", doing="listing", key=None, hint=None)
    assert without_key.__cause__ is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://u:12/34@host:1/0", True),
        ("redis://u:pa/@ss@host/0", True),
        ("redis://12/34@host", True),
        ("redis://u:12?34@host/0", True),
        ("redis://u:12?3/4@host/0?a=b", True),
        ("redis://u:1%2F2@host/0", False),
        ("redis://u:12#34@host/0", False),
        ("redis://u:a@b@host/0", False),
        ("redis://u:word@host/a@b", False),
        ("redis://host/0?username=u@x&password=a/b@c", False),
        ("redis://host,other:1/0", False),
        ("unix:///run/server@one/socket", False),
        ("unix://u:word@/run/server@one/socket", False),
        ("", False),
    ],
)
def test_a_password_that_ends_the_address_is_seen(url, expected):
    assert splits_login(url) is expected


class TestCut:
    @pytest.fixture
    def pair(self):
        one, other = socket.socketpair()
        with one, other:
            yield one, other

    def test_what_waits_to_receive_gets_the_end(self, pair):
        one, other = pair
        shut_down_socket(one)
        assert one.recv(1) == other.recv(1) == b""
        assert one.fileno() != -1  # the thread that uses it closes it

    def test_what_was_closed_or_not_opened_needs_nothing(self, pair):
        pair[0].close()
        shut_down_socket(pair[0])
        shut_down_socket(None)

    def test_what_another_thread_sends_meanwhile_is_still_encrypted(self, pair, monkeypatch):
        one, other = pair
        one.setblocking(False)
        context = ssl.create_default_context()
        end = socket.socket.shutdown

        def send_and_end(opened, how):
            with suppress(ssl.SSLWantReadError):  # as the handshake has just begun
                opened.send(b"password")
            end(opened, how)

        monkeypatch.setattr(socket.socket, "shutdown", send_and_end)
        with context.wrap_socket(one, server_hostname="example.com", do_handshake_on_connect=False) as tls:
            shut_down_socket(tls)
        sent = other.recv(65536)
        assert sent.startswith(b"\x16\x03")  # TLS: a handshake
        assert b"password" not in sent
