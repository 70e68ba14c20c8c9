"""Whether a text is PEM (RFC 7468), as OpenSSL takes it, in one pass over its lines."""

from __future__ import annotations

import binascii
import re

__all__ = ["why_not_pem"]

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9](?:[ A-Z0-9]{0,62}[A-Z0-9])?)-----[ \t]*")
_BOUNDARY = "-----"
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*:")  # RFC 1421, as in encrypted keys
_CHECKSUM = re.compile(r"=[A-Za-z0-9+/]{4}")  # OpenPGP's
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_SEQUENCE, _LONG, _MOST_LENGTH_BYTES = 0x30, 0x80, 4  # DER, as in X.690
_OPENSSH = b"openssh-key-v1\0"


def why_not_pem(text: str) -> str | None:
    """Return what keeps `text` from being PEM, or None.

    Text before, between and behind the blocks is allowed, as RFC 7468 says in section 2.
    """
    label, body, blocks = "", list[str](), 0
    for line in text.splitlines():
        if not label:
            begin = _BEGIN.fullmatch(line)
            if begin is not None:
                label, body = begin[1], []
            elif line.startswith(("-----BEGIN ", "-----END ")):
                return "a boundary is not alone on its line, or is not one of a pair"
        elif line.rstrip() == f"-----END {label}-----":
            why = _wrong_body(body)
            if why is not None:
                return f"{why}, in block {blocks + 1}"
            label, blocks = "", blocks + 1
        elif line.startswith(_BOUNDARY):
            return f"block {blocks + 1} has no end"
        else:
            body.append(line.strip())
    if label:
        return f"block {blocks + 1} has no end"
    return None if blocks else "there is no block in it"


def _wrong_body(lines: list[str]) -> str | None:
    headers = bool(lines) and _HEADER.match(lines[0]) is not None
    if headers:
        if "" not in lines:
            return "no blank line follows the headers"
        lines = lines[lines.index("") + 1 :]
    if lines and _CHECKSUM.fullmatch(lines[-1]):
        lines = lines[:-1]
    joined = "".join(lines)
    if not joined:
        return "there is nothing between the boundaries"
    if not _BASE64.fullmatch(joined):
        return "the body is not base64 in lines"
    try:
        whole = len(joined) % 4 == 0 and (headers or not _is_cut(binascii.a2b_base64(joined)))
    except binascii.Error:
        whole = False
    return None if whole else "the body was cut short"


def _is_cut(data: bytes) -> bool:
    """Return whether `data` says at its beginning that it is longer than it is."""
    if data.startswith(_OPENSSH):
        return _is_cut_openssh(data)
    if data[:1] != bytes([_SEQUENCE]) or not data[1:2]:
        return False
    size, more = data[1], 0
    if size >= _LONG:
        more = size - _LONG
        if not 0 < more <= _MOST_LENGTH_BYTES or len(data) < 2 + more:
            return False
        size = int.from_bytes(data[2 : 2 + more])
    return len(data) < 2 + more + size


def _is_cut_openssh(data: bytes) -> bool:
    # Cipher, key derivation and its options; how many keys there are; the public ones; the private part.
    at = len(_OPENSSH)
    for _ in range(3):
        at += 4 + int.from_bytes(data[at : at + 4])
    keys = int.from_bytes(data[at : at + 4])
    at += 4
    for _ in range(min(keys, len(data)) + 1):
        if at >= len(data):
            return True
        at += 4 + int.from_bytes(data[at : at + 4])
    return at > len(data)
