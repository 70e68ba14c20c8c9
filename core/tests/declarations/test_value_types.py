"""The types and rules of declared secrets hold in bounded time, and say what is wrong."""

from __future__ import annotations

import contextlib
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from strongroom.declarations.pem import why_not_pem
from strongroom.declarations.value_types import check_text
from strongroom.errors import ConfigurationError, InvalidKeyError, ValidationError
from strongroom.middleware.validation import ValidationMiddleware
from strongroom.plugins import patterns
from strongroom.plugins.patterns import LONGEST_TEXT, mismatch
from strongroom.spec.secret_plan import Position, SecretPlan
from strongroom_memory import MemorySecretProvider

DOUBLING = "(a|aa)+$"  # the time that Python's re takes doubles with each character


def check(text, **rules):
    return check_text(SecretPlan("S", "s", Position("test"), **rules), text)[1]


def key(style=serialization.PrivateFormat.PKCS8, password=None):
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return (
        Ed25519PrivateKey.from_private_bytes(bytes(32))
        .private_bytes(serialization.Encoding.PEM, style, hidden)
        .decode()
    )


PKCS8 = key()
OPENSSH = key(serialization.PrivateFormat.OpenSSH)
LEGACY = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"
    "YWJjZGVmZ2hpamtsbW5vcA==\n-----END RSA PRIVATE KEY-----\n"
)
PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nYWJj\n=YWJj\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    "text",
    [
        PKCS8,
        OPENSSH,
        LEGACY,
        PGP,
        key(password=b"12345678"),
        PKCS8.replace("\n", "\r\n"),
        PKCS8.rstrip(),
        PKCS8 + OPENSSH,
        "\n" + PKCS8 + "\n \n",
        "Bag Attributes\n    friendlyName: x\nKey Attributes: <No Attributes>\n" + PKCS8,
        "# the first\n" + PKCS8 + "# the second\n" + PKCS8 + "# end of bundle\n",
        "-----BEGIN KEY-----\nYQ==\n-----END KEY-----\n",
    ],
)
def test_pem_is_what_openssl_takes(text):
    assert check(text, type="pem") is None


def cut(text, lines):
    rows = text.splitlines()
    return "\n".join(rows[: -1 - lines] + rows[-1:]) + "\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no block in it"),
        ("hunter2", "there is no block in it"),
        (PKCS8.replace("\n", " "), "a boundary is not alone on its line"),
        (PKCS8.replace("\n", "\\n"), "a boundary is not alone on its line"),
        (
            OPENSSH.replace("\n", " ").replace("KEY----- ", "KEY-----\n").replace(" -----END", "\n-----END"),
            "lines",
        ),
        (PKCS8.rsplit("-----END", 1)[0], "block 1 has no end"),
        (PKCS8 + PKCS8.rsplit("-----END", 1)[0], "block 2 has no end"),
        (PKCS8.rsplit("-----END", 1)[0] + PKCS8, "block 1 has no end"),
        (PKCS8.replace("END PRIVATE KEY", "END PUBLIC KEY"), "block 1 has no end"),
        ("-----END KEY-----\n" + PKCS8, "not one of a pair"),
        (cut(OPENSSH, 1), "the body was cut short, in block 1"),
        (cut(OPENSSH, 2), "the body was cut short, in block 1"),
        (cut(OPENSSH, 4), "the body was cut short, in block 1"),
        (PKCS8 + PKCS8.replace("IEI", "IE", 1).replace("Mi4", "M", 1), "block 2"),
        (cut(PKCS8, 1), "nothing between the boundaries"),
        (PKCS8.replace("M", "*", 1), "not base64"),
        (LEGACY.replace("\n\n", "\n"), "no blank line follows the headers"),
    ],
)
def test_what_openssl_would_refuse_is_refused_with_the_reason(text, why):
    problem = check(text, type="pem")
    assert problem is not None
    assert why in problem
    assert "hunter2" not in problem


def test_a_certificate_cut_at_a_line_is_told_as_cut():
    body = "MIIB" + "AAAA" * 15
    problem = check(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", type="pem")
    assert problem == "it is not of the type pem: the body was cut short, in block 1"


def test_a_bundle_is_looked_at_once_whatever_stands_behind_it():
    """Each line once: a pattern over the whole text took 101 s for 16 certificates and a comment."""
    seen = []

    class Counted(str):
        __slots__ = ()

        def splitlines(self, keepends=False):
            lines = str.splitlines(self, keepends)
            seen.extend(lines)
            return lines

    block = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    text = Counted(block * 400 + "# end of bundle\n")
    assert why_not_pem(text) is None
    assert len(seen) == 1201


@pytest.mark.parametrize("kind", ["integer", "port", "boolean", "url", "email"])
def test_a_line_end_is_told_as_the_reason(kind):
    right = {"boolean": "true", "url": "https://a.example", "email": "a@b.example"}.get(kind, "42")
    assert check(right, type=kind) is None
    assert "a line end follows it" in check(right + "\n", type=kind)
    assert "there is white space around it" in check(" " + right, type=kind)
    assert check("!\n", type=kind) == f"it is not of the type {kind}"


def test_a_pattern_gives_up_in_bounded_time(monkeypatch):
    monkeypatch.setattr(patterns, "_SECONDS", 0.01)
    problem = check("a" * 200 + "!", pattern=DOUBLING)
    assert problem is not None
    assert "takes more than 0.01 s" in problem
    assert "aaa" not in problem
    assert check("aaaa", pattern=DOUBLING) is None
    assert check("aaab", pattern=DOUBLING) == f"it does not match the pattern {DOUBLING}"


PLAIN = [
    "a*", "[a-z-]+", "[A-Z]{2}-[0-9]+", "sk_live_[A-Za-z0-9]{4,}", r"https?://x", r"\(a\)", "ab{0}c", "[a-]{2}", "", "x{3}y{2}", "a?b",
]  # fmt: skip
OTHER = [
    "(a|aa)+",
    "a*a*b",
    "a?a?a",
    "a+?",
    "a++",
    "a{2}{3}",
    "[^a]+",
    r"\d+",
    ".*",
    "[a--b]",
    "[[a]]",
    "a|b",
    "^a$",
    "é+",
    "a{,3}",
    "{",
    "[+--]",
]
TEXTS = [
    "",
    "a",
    "aa",
    "ab",
    "AB-12",
    "sk_live_abcd",
    "http://x",
    "(a)",
    "ac",
    "a-",
    "xxxyy",
    "b",
    "aaaa",
    "a--b",
    "\n",
    "a\n",
    "é",
    "[",
    "{",
]


@pytest.mark.parametrize("pattern", [*PLAIN, *OTHER])
def test_plain_patterns_match_as_by_the_other_module(pattern):
    """Which of them are matched by `re` is a matter of speed alone, and no such one can take long."""
    assert patterns._is_plain(pattern) == (pattern in PLAIN)
    made = None
    with contextlib.suppress(ValueError):
        made = patterns.compiled(pattern)
    for text in TEXTS if made is not None else []:
        assert (mismatch(pattern, text) is None) == (made.fullmatch(text) is not None)


@pytest.mark.parametrize("pattern", ["[z-a]", "a{2,1}", "a{99999999999}"])
def test_a_plain_pattern_that_is_none_is_told_by_the_other_module(pattern):
    with pytest.raises(ValueError, match=r"."):
        mismatch(pattern, "a")


def test_a_pattern_is_tried_on_a_bounded_text():
    assert check("a" * LONGEST_TEXT, pattern="a*") is None
    assert "tried on 65536 at most" in check("a" * (LONGEST_TEXT + 1), pattern="a*")


@pytest.mark.parametrize(
    "pattern", [r"(?=.*\d)(?=.*[A-Z])[^\s]{8,64}", r"(\w)\1+", r"(?i)x-[a-f]+", "a|b", r"\A\w+\Z", "(?s).*"]
)
@pytest.mark.parametrize("text", ["Passw0rd!", "aa", "X-abc", "b", "a\nb", "", "ä", "ab\n"])
def test_patterns_mean_what_they_mean_in_pythons_re(pattern, text):
    assert (mismatch(pattern, text) is None) is (re.fullmatch(pattern, text) is not None)


def test_patterns_for_keys_and_in_a_json_schema_are_bounded_too(monkeypatch):
    monkeypatch.setattr(patterns, "_SECONDS", 0.01)
    inner = MemorySecretProvider()
    provider = ValidationMiddleware(inner, key_pattern=DOUBLING)
    provider.set_secret("aaa", "x")
    with pytest.raises(InvalidKeyError, match="takes more than"):
        provider.get_secret("a" * 100 + "b")
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        ValidationMiddleware(inner, key_pattern="(")
    schema = ValidationMiddleware(inner, json_schema={"type": "string", "pattern": "^" + DOUBLING})
    schema.set_secret("k", '"aaa"')
    with pytest.raises(ValidationError) as caught:
        schema.set_secret("k", '"' + "a" * 100 + '!"')
    assert "breaks the schema's 'pattern'" in str(caught.value)
