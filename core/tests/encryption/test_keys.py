"""Keys are told apart strictly, and derivations are bounded."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom.encryption import generate_key, keys
from strongroom.encryption.keys import (
    ARGON2_CEILING,
    ARGON2_DEFAULT,
    ARGON2_FLOOR,
    Argon2Parameters,
    KeyMaterial,
    check_parameters,
    derive_key,
    format_key,
    read_key,
)
from strongroom.errors import ConfigurationError

CHEAP = ARGON2_FLOOR
SALT = bytes(range(16))


def test_generated_keys_are_raw_keys():
    """The text of a generated key stands for its 32 bytes, and no two are alike."""
    first, second = generate_key(), generate_key()
    assert first.startswith("srk1_")
    assert len(first) == 53
    assert first != second
    material = read_key(first)
    assert material.kind == "raw"
    assert len(material.secret) == 32
    assert format_key(material.secret) == first


@settings(derandomize=True)
@given(st.binary(min_size=32, max_size=32))
def test_text_form_round_trips(raw):
    """Whatever the bytes, their text form stands for them."""
    assert read_key(format_key(raw)) == read_key(raw) == KeyMaterial("raw", raw)


def test_every_changed_character_is_noticed():
    """One wrong character anywhere behind the prefix fails the checksum."""
    key = generate_key()
    for place in range(5, len(key)):
        other = "A" if key[place] != "A" else "B"
        with pytest.raises(ConfigurationError):
            read_key(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize("spoil", [lambda key: key[:-1], lambda key: key + "A", lambda key: key + "\n", lambda key: " ".join([key[:9], key[9:]]), lambda _: "srk1_", lambda _: "srk1_" + "!" * 48])  # fmt: skip
def test_what_begins_like_a_generated_key_is_one_or_an_error(spoil):
    """It is never taken for a passphrase."""
    with pytest.raises(ConfigurationError) as caught:
        read_key(spoil(generate_key()))
    assert caught.value.hint


def test_fernet_keys():
    """A standard Fernet key, text or bytes, stands for its 32 bytes."""
    raw = os.urandom(32)
    text = base64.urlsafe_b64encode(raw)
    assert read_key(text) == read_key(text.decode()) == KeyMaterial("fernet", raw)


def test_other_text_is_a_passphrase():
    """Also what begins a little like a key of another kind, and words of a key's length."""
    words = "correct-horse-battery-staple-and-more-words"
    assert len(words) == 43
    for text in (
        "8 letter",
        "correct horse",
        "пароль-ы",
        "SRK1_abc",
        "A" * 44,
        "srk2_abc",
        words,
        f"{words}="[1:],
    ):
        assert read_key(text) == KeyMaterial("passphrase", text.encode())


FERNET = base64.urlsafe_b64encode(bytes(range(223, 255))).decode()
STANDARD = base64.b64encode(bytes(range(223, 255))).decode()
GENERATED = format_key(bytes(range(223, 255)))
AROUND = [
    "{}\n",
    "{}\r\n",
    " {}",
    "{} ",
    "\t{}",
    "\ufeff{}",
    "'{}'",
    '"{}"',
    "b'{}'",
    "KEY={}",
    "{}\n\n",
    "({})",
    "{}x",
    "x{}",
    "KEY{}",
    "{}=",
    "{0}{0}",
    "srk1_{}",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("key", [FERNET, GENERATED, STANDARD], ids=["fernet", "generated", "standard"])
def test_a_key_with_something_around_it_is_not_a_passphrase(around, key):
    """It would be one that nobody meant; the error says what was found, and never the text."""
    with pytest.raises(ConfigurationError) as caught:
        read_key(around.format(key))
    text = f"{caught.value}{caught.value.hint}"
    assert key[8:20] not in text
    assert caught.value.__context__ is None
    kind = "generated" if key is GENERATED else "Fernet"
    assert kind in text
    assert "around" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FERNET[:-1], "without the `=`"),
        (f"{FERNET[:-1]}\n", "without the `=`"),
        (STANDARD, "the alphabet of standard base64"),
        (STANDARD[:-1], "without the `=`"),
        (
            GENERATED.translate(str.maketrans("-_", "+/")).replace("srk1/", "srk1_"),
            "the alphabet of standard base64",
        ),
        (GENERATED.removeprefix("srk1_"), "without its beginning"),
        (f"{FERNET[:20]}\n{FERNET[20:]}", "line ends in it"),
        (f" {GENERATED[:20]} {GENERATED[20:]}", "blanks"),
        ("A" * 43, "without the `=`"),
        ("tiny!", "has 5 characters"),
        ("1234567", "has 7 characters"),
        ("   ", "blank"),
        ("\n" * 12, "blank"),
        ("\u2003" * 9, "blank"),
    ],
)
def test_what_is_nearly_a_key(text, expected):
    """Cut off, in the other alphabet, in pieces, short, blank: refused, in words that do not show it."""
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_key(text)
    assert caught.value.hint
    assert not text.strip() or text.strip() not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(bytes(range(64))).decode(),
        base64.b64encode(bytes(range(35))).decode(),
        base64.urlsafe_b64encode(bytes(range(190, 255))).decode(),
        "a_sentence_of_words_that_is_longer_than_a_key_and_then=yes",
    ],
)
def test_what_only_ends_as_a_key_does_is_a_passphrase(text):
    """More bytes in base64, which `openssl rand -base64` prints; words before an equals sign."""
    assert read_key(text) == KeyMaterial("passphrase", text.encode())


@pytest.mark.parametrize(
    "text",
    ["x", " ", f"{FERNET}\n", FERNET[:-1], STANDARD, f"'{GENERATED}'", f"{GENERATED}\n", f"{GENERATED} x"],
)
def test_older_keys_are_taken_as_they_were(text):
    """What was encrypted under such a text can still be read, so that it can be encrypted again."""
    assert read_key(text, older=True) == KeyMaterial("passphrase", text.encode())


@settings(derandomize=True, max_examples=60)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(AROUND))
def test_no_key_with_something_around_it_passes(raw, around):
    """Whatever the key."""
    for key in (format_key(raw), base64.urlsafe_b64encode(raw).decode(), base64.b64encode(raw).decode()):
        with pytest.raises(ConfigurationError):
            read_key(around.format(key))


@pytest.mark.parametrize("key", ["", b"", b"x" * 31, b"x" * 33, b"x" * 44, b"passphrase", "a\ud800", None, 7])
def test_what_is_no_key(key):
    """Nothing, or bytes of another length, or no text, is a configuration error."""
    with pytest.raises(ConfigurationError):
        read_key(key)


@pytest.mark.parametrize("key", ["srk1_hunter2hunter2", b"hunter2hunter2", "hunter2hunter2\ud800"])
def test_errors_do_not_show_the_key(key):
    """Neither the message nor anything that led to it holds the key."""
    with pytest.raises(ConfigurationError) as caught:
        read_key(key)
    error = caught.value
    assert "hunter2" not in f"{error!r}{error}{error.__cause__!r}{error.__context__!r}"


def test_repr_is_harmless():
    """Key material shows its kind only."""
    assert "hunter2" not in repr(read_key("hunter2hunter2"))


def test_a_raw_key_has_one_length():
    """`format_key` refuses what `read_key` would."""
    with pytest.raises(ConfigurationError):
        format_key(b"x" * 31)


def test_derivation_is_argon2id():
    """The derivation is Argon2id with the parameters as given, and the default is RFC 9106's second choice."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    assert Argon2Parameters(3, 65_536, 4) == ARGON2_DEFAULT
    expected = Argon2id(salt=SALT, length=32, iterations=2, lanes=1, memory_cost=19 * 1024).derive(b"pass")
    assert derive_key(b"pass", SALT, CHEAP) == expected
    assert derive_key(b"Pass", SALT, CHEAP) != expected
    assert derive_key(b"pass", SALT[::-1], CHEAP) != expected


def test_a_derivation_is_made_once(monkeypatch):
    """A second one with the same salt costs nothing, also from other threads at the same time."""
    made = []
    real = keys._argon2id
    monkeypatch.setattr(keys, "_argon2id", lambda *args: made.append(1) or real(*args))
    results = []
    salt = os.urandom(16)
    threads = [
        threading.Thread(target=lambda: results.append(derive_key(b"pass", salt, CHEAP))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(results)) == 1
    assert not any(b"pass" in name[0] for name in keys._derivations._known)


def test_remembered_derivations_are_bounded(monkeypatch):
    """The oldest derivation is forgotten beyond the bound."""
    monkeypatch.setattr(keys, "_argon2id", lambda passphrase, *_: passphrase)
    table = keys._Derivations()
    for number in range(100):
        table.get(str(number).encode(), SALT, CHEAP)
    assert len(table._known) == 64


@pytest.mark.parametrize("name", ["iterations", "memory_kib", "lanes"])
def test_parameters_are_bounded(name):
    """What is below the floor or above the ceiling is refused before anything is derived."""

    for bound in (ARGON2_FLOOR, ARGON2_CEILING):
        assert check_parameters(bound) is bound
    for wrong in (getattr(ARGON2_FLOOR, name) - 1, getattr(ARGON2_CEILING, name) + 1, 2**32 - 1):
        with pytest.raises(ConfigurationError):
            derive_key(b"pass", SALT, ARGON2_DEFAULT._replace(**{name: wrong}))


def test_a_short_salt_is_refused():
    """Sixteen bytes at least."""
    with pytest.raises(ConfigurationError):
        derive_key(b"pass", b"x" * 15)


def test_a_fork_while_a_key_is_derived():
    """A child does not wait for a thread that only its parent has."""
    code = """
import os, sys, threading
from strongroom.encryption import keys
lock = keys._derivations._lock
held = threading.Event()
leave = threading.Event()
def hold():
    with lock:
        held.set()
        leave.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    keys.derive_key(b"pass", b"x" * 16, keys.ARGON2_FLOOR)
    os._exit(0)
leave.set()
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)


def test_importing_loads_no_cryptography():
    """The package, and reading or making a key, do without `cryptography`."""
    code = (
        "import sys, strongroom.encryption as e; e.generate_key();"
        "from strongroom.encryption.keys import read_key; read_key('a phrase');"
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_unknown_names():
    """The package has what it lists and nothing else."""
    import strongroom.encryption as package

    assert "generate_key" in dir(package)
    with pytest.raises(AttributeError):
        _ = package.nothing
