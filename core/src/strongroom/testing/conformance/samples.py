"""Keys and values that break careless providers."""

from __future__ import annotations

import random

__all__ = [
    "COLLIDING_KEYS",
    "HOSTILE_KEYS",
    "HOSTILE_VALUES",
    "INVALID_KEYS",
    "INVALID_PREFIXES",
    "NO_TEXTS",
    "PADDED",
    "generated_keys",
]

HOSTILE_KEYS: dict[str, str] = {
    "one letter": "k",
    "digit": "0",
    "plain": "database_password",
    "segments": "database/primary/password",
    "512 letters": "k" * 512,
    "512 wide letters": "ключ" * 128,
    "512 astral characters": "🔑" * 512,
    "space": "with space",
    "leading space": " leading",
    "trailing space": "trailing ",
    "only a space": " ",
    "no-break space": "no\u00a0break",
    "zero-width space": "zero\u200bwidth",
    "right-to-left override": "right\u202eleft",
    "byte order mark": "\ufeffmark",
    "upper case": "UPPER",
    "mixed case": "Mixed/Case",
    "leading dot": ".hidden",
    "leading dots": "..hidden/...",
    "trailing dot": "trailing.",
    "leading hyphen": "--option",
    "trailing hyphen": "trailing-",
    "leading underscore": "__dunder__",
    "dots": "a.b.c",
    "colon": "a:b",
    "at": "user@host",
    "percent": "100%",
    "percent escape": "a%2Fb",
    "plus": "a+b",
    "query": "a?b=c&d=e",
    "fragment": "a#b",
    "semicolon": "a;b",
    "comma": "a,b",
    "pipe": "a|b",
    "tilde": "~user",
    "double quote": 'double"quote',
    "single quote": "single'quote",
    "backslash": "back\\slash",
    "braces": "{key}",
    "dollar": "${env:HOME}",
    "wildcards": "*?[a-z]",
    "angle brackets": "<tag>",
    "SQL": "'; DROP TABLE secrets; --",
    "format": "%s%d{0}",
    "accent, composed": "caf\u00e9",
    "accent, decomposed": "cafe\u0301",
    "other scripts": "密码/пароль/パスワード",
    "emoji": "🔐/🗝\ufe0f",
    "sharp s": "straße",
    "dotted I": "\u0130stanbul/\u0131I",
    "device name": "con/nul",
    "metadata": "metadata/data",
    "python": "__class__/__init__",
    # the last, as some services list each level by itself, also of what was deleted
    "many segments": "/".join("s" * 256),
}
"""Valid keys, each named for what is special about it."""

PADDED = '  "zwölf" #\n\t${HOME}\\n {}\n '
"""A value that loses something to whatever trims, quotes or fills in: for each way to write and to read."""
HOSTILE_VALUES: dict[str, str] = {
    "empty": "",
    "space": " ",
    "spaces around": "  padded  ",
    "newline": "\n",
    "trailing newline": "line\n",
    "CRLF": "one\r\ntwo\r\n",
    "carriage return": "one\rtwo",
    "tab": "\tindented\t",
    "many lines": "-----BEGIN KEY-----\nabc\n\n-----END KEY-----\n",
    "NUL": "before\x00after",
    "control characters": "\x01\x02\x1b[31m\x7f",
    "accents, composed": "caf\u00e9",
    "accents, decomposed": "cafe\u0301",
    "other scripts": "密码 пароль パスワード كلمة",
    "emoji": "🔐👩\u200d👩\u200d👧\u200d👦",
    "line separator": "a\u2028b\u2029c\u0085d",
    "byte order mark": "\ufefftext",
    "last character": "\U0010ffff",
    "noncharacter": "\ufffe\uffff",
    "JSON object": '{"user": "u", "password": "p"}',
    "JSON object with the field value": '{"value": "x"}',
    "empty JSON object": "{}",
    "JSON text": '"quoted"',
    "JSON array": "[1, 2]",
    "null": "null",
    "true": "true",
    "leading zero": "0123",
    "number": "1e3",
    "double quotes": 'say "hi"',
    "single quotes": "it's",
    "backslashes": "a\\n\\\\b",
    "reference": "${env:HOME} $HOME $(id)",
    "format": "%s %(x)s {0} {x}",
    "base64": "AAEC/+8=",
    "equals sign": "=a=b=",
    "comment": "# no comment",
    "URL": "postgres://user:p%40ss@host:5432/db?x=1#f",
    "byte literal": "b'bytes'",
    "escape of a lone surrogate": "\\ud800",
}
"""Values of any valid text, each named for what is special about it."""

COLLIDING_KEYS: tuple[str, ...] = (
    *("a-b", "a_b", "a/b", "a.b", "a b", "a+b", "a:b", "a%b", "a=b", "a@b", "a~b", "a\\b", "ab"),
    *("A-b", "A_B", "A/B", "a/B", "A.B", "AB", "aB"),
    *("a--b", "a__b", "a..b", "a___b", "a---b", "a-_b", "a_-b", "a-/b", "a/-b", "a_/b", "a/_b"),
    *("a%2Fb", "a%2fb", "a%252Fb", "a-2Fb", "a_2Fb", "a--2Fb", "a__2Fb", "a_2f_b", "a-2f-b", "a=2Fb"),
    *("a_x2f_b", "a_x2fb", "a__x2fb", "a-x2fb", "a_47_b", "a_u002fb", "a\\u002fb", "a__slash__b"),
    *("_a_b", "-a-b", ".a.b", "a_b_", "a-b-", "a.b.", " a b", "a b "),
    *("\u00e9", "e\u0301", "e", "\u00c9", "\ufb01", "fi", "ß", "ss", "SS", "K", "\u212a", "k"),
    *("1", "\u00b9", "\u0661", "\uff11", "01"),
)
"""Different keys that narrow alphabets, case folding or normalisation would map to one name."""

INVALID_KEYS: dict[str, str] = {
    "empty": "",
    "513 characters": "k" * 513,
    "leading slash": "/a",
    "trailing slash": "a/",
    "only a slash": "/",
    "empty segment": "a//b",
    "dot segment": "a/./b",
    "only a dot": ".",
    "parent segment": "a/../b",
    "leading parent": "../a",
    "trailing parent": "a/..",
    "NUL": "a\x00b",
    "newline": "a\nb",
    "trailing newline": "a\n",
    "tab": "a\tb",
    "delete": "a\x7fb",
    "C1 control": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "lone surrogate": "a\ud800b",
}
"""One breach of each rule for keys."""

INVALID_PREFIXES: dict[str, str] = {
    "513 characters": "k" * 513,
    "NUL": "a\x00",
    "newline": "a\n",
    "C1 control": "\x85",
    "line separator": "\u2028",
    "lone surrogate": "\udfff",
}
"""Invalid prefixes; unlike a key, a prefix may be empty or end with a slash."""

NO_TEXTS: dict[str, object] = {
    "None": None,
    "bytes": b"bytes",
    "int": 42,
    "bool": True,
    "list": ["text"],
    "dict": {"value": "text"},
}
"""Values that are not text."""

_ALPHABET = "aAbBzZ0129_-.%=+~ :/xuX\u00e9\u00c9"


def generated_keys(count: int, *, seed: int) -> list[str]:
    """Return `count` different valid keys of characters that escapes are made of, the same every time."""
    source = random.Random(seed)  # noqa: S311 - samples that repeat, nothing secret
    keys: dict[str, None] = {}
    while len(keys) < count:
        text = "".join(source.choices(_ALPHABET, k=source.randint(1, 7)))
        if not {"", ".", ".."} & set(text.split("/")):
            keys[text] = None
    return list(keys)
