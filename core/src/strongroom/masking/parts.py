"""What of a value is a secret by itself: its lines, the password in a URL or a DSN, the texts in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.encodings import members
from strongroom.masking.limits import MIN_CHARACTERS

__all__ = ["HARMLESS", "expanded", "lines", "parts"]

_BOUNDARY = compiled_later("-----(BEGIN|END) [A-Z0-9 ]+-----")
_SETTING = compiled_later(r"-? ?[A-Za-z_.][\w.-]*[:=] ?(?:[A-Za-z][A-Za-z_.]*|\d{1,5}|v\d+)?")
_PASSWORD = compiled_later(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://([^/?#\s]*)@")
# Of a connection string: of PostgreSQL's library, ADO.NET, ODBC, JDBC, or an account of Azure.
_ASSIGNED = compiled_later(
    r"(?i)(?:\A|[\s;?&])(?:password|passwd|pwd|accountkey|sharedaccesskey|sharedaccesssignature)\s{0,8}=\s{0,8}"
    r"(?:'((?:[^'\\]|\\.)+)'|\"([^\"]+)\"|\{([^}]+)\}|([^\s;&'\"{][^\s;&\"]*))"
)
_SURE = 8
_LOOKED_AT = 4096
"""Characters of a text among which passwords are looked for."""
HARMLESS = (
    "type", "auth_uri", "token_uri", "redirect_uris", "auth_provider_x509_cert_url", "client_x509_cert_url",
    "universe_domain", "project_id", "quota_project_id", "client_email", "engine", "host", "hostname", "port",
    "scheme", "protocol", "region", "dbname", "database", "dbInstanceIdentifier", "dbClusterIdentifier",
    "masterarn", "kty", "alg", "use", "crv", "apiVersion", "kind", "current-context",
)  # fmt: skip
"""Members of a JSON secret that say where and what it is: of Google's and AWS's keys, RDS, JWK, kubectl."""
_HARMLESS = frozenset(name.lower() for name in HARMLESS)


def lines(value: str) -> Iterator[str]:
    """Yield the lines of a multi-line value that give it away."""
    found = value.splitlines()
    if found != [value]:
        # A line without its indentation is found in the indented one too.
        yield from (line for line in dict.fromkeys(line.strip() for line in found) if _is_secret(line))


_ESCAPE = compiled_later(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|([abfnrtv\\]))")
_MEANINGS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def expanded(value: str) -> Iterator[str]:
    """Yield what `value` becomes where a program takes its backslashes for escapes, as `echo` does."""
    if "\\" in value:
        yield _ESCAPE.sub(_meant, value)


def _meant(escape: re.Match[str]) -> str:
    digits, octal, name = escape.groups()
    if digits or octal:
        return chr(int(digits, 16) if digits else int(octal, 8) & 255)
    return _MEANINGS[name]


def _is_secret(line: str) -> bool:
    if len(line) < _SURE or _BOUNDARY.fullmatch(line) or _SETTING.fullmatch(line):
        return False
    return len(line) > _SURE or not line.isalpha()


def parts(value: str) -> Iterator[str]:
    """Yield the texts inside `value` that are secret by themselves, since programs show them alone."""
    inside = members(value)
    for name, text in inside:
        if name.lower() not in _HARMLESS or _PASSWORD.search(text):
            yield text
    for text in [text for _, text in inside] or [value]:
        yield from _passwords(text[:_LOOKED_AT])


def _passwords(text: str) -> Iterator[str]:
    """Yield the passwords in a URL or a connection string."""
    for match in _PASSWORD.finditer(text) if "://" in text else ():
        user, colon, password = match[1].partition(":")
        yield from _unquoted(password if colon else user)
    if "=" in text:
        for match in _ASSIGNED.finditer(text):
            yield from _unquoted(match[1] or match[2] or match[3] or match[4])


def _unquoted(secret: str) -> Iterator[str]:
    from urllib.parse import unquote, unquote_plus

    for one in dict.fromkeys((secret, unquote(secret), unquote_plus(secret))):
        if len(one) >= MIN_CHARACTERS:
            yield one
