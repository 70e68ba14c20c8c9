"""Refuses files that hold ciphertext or references, or have another format, and says what to do instead.

Ciphertext or a reference must not be stored as if it was the value; nor must a value that was read by the
rules of a wrong format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from strongroom.cli.errors import UsageError

__all__ = ["Sealed", "advice", "refuse_ending", "refuse_sealed_file", "refuse_sealed_values", "sealed_values"]

_MOST_SHOWN = 20

_ONE_ENTRY = "store what it holds one by one, each through a pipe: PROGRAM | strongroom set KEY"

_KEEPASS = "keepassxc-cli export -q --format csv {file} | strongroom import - --format keepass"
_EXPORTED = f"what KeePass exported is read with --format keepass; otherwise {_ONE_ENTRY}"

_HEADS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"$ANSIBLE_VAULT;",
        "encrypted by ansible-vault",
        "ansible-vault view {file} | strongroom import - --format yaml",
    ),
    (b"age-encryption.org/v1", "encrypted by age", "age -d -i KEYFILE {file} | strongroom import -"),
    (
        b"-----BEGIN AGE ENCRYPTED FILE-----",
        "encrypted by age",
        "age -d -i KEYFILE {file} | strongroom import -",
    ),
    (b"-----BEGIN PGP MESSAGE-----", "encrypted by OpenPGP", "gpg -d {file} | strongroom import -"),
    (b"Salted__", "encrypted by openssl enc", "openssl enc -d … -in {file} | strongroom import -"),
    (b"\0GITCRYPT\0", "encrypted by git-crypt", "git-crypt unlock"),
    (b"\x03\xd9\xa2\x9a", "a KeePass database", _KEEPASS),
    (
        b"SQLite format 3\0",
        "a database, perhaps a store of strongroom's",
        "name it in the spec and use strongroom copy",
    ),
)
"""The first bytes of files that are not read, each with what the file is and what to do."""

_ENDINGS: dict[str, tuple[str, str]] = {
    ".cred": ("a credential of systemd", "systemd-creds decrypt {file} - | strongroom set KEY"),
    ".csv": ("a table", _EXPORTED),
    ".gpg": (
        "encrypted by OpenPGP, perhaps an entry of pass",
        "pass show ENTRY | head -n 1 | strongroom set KEY",
    ),
    ".ini": ("an INI file", "make JSON of it"),
    ".kdbx": ("a KeePass database", _KEEPASS),
    ".properties": ("a Java properties file, which escapes differently from .env", "make JSON of it"),
    ".tfvars": ("a Terraform file", "make JSON of it"),
    ".toml": ("a TOML file", "make JSON of it"),
    ".xml": ("an XML file", _EXPORTED),
}
"""Extensions of formats that are not read, each with what the file is and what to do."""

_SOPS = "ENC[AES256_GCM,"
_DOTENVX = re.compile(r"encrypted:[A-Za-z0-9+/]{60,}={0,2}")
_ONE_PASSWORD = re.compile(r"op://[^/]+/[^/]+/.+")
_VALS = re.compile(r"(?:secret)?ref\+[a-z][a-z0-9+-]*://.+")


def refuse_ending(path: Path) -> None:
    """Raise `UsageError` for a file with the extension of a format that is not read."""
    known = _ENDINGS.get(path.suffix.lower())
    if known is not None:
        what, instead = known
        raise UsageError(
            f"{path} is {what}: .env, JSON and YAML are read",
            hint=f"{instead.format(file=path)}; or give --format if it is one of these",
        )


def refuse_sealed_file(path: Path, data: bytes) -> None:
    """Raise `UsageError` for an encrypted file or a database, by its first bytes."""
    for head, what, instead in _HEADS:
        if data.startswith(head):
            raise UsageError(f"{path} is {what}", hint=instead.format(file=path))


class Sealed(NamedTuple):
    """Values that one tool made: what they are, how to decrypt or look them up, and their names."""

    what: str
    advice: str
    names: tuple[str, ...]


def sealed_values(values: Mapping[str, str]) -> list[Sealed]:
    """Return which of `values` are ciphertext or references of a known tool."""
    kinds = [
        Sealed("encrypted by sops", "sops -d {file} | strongroom import - --format {kind}", _of_sops(values)),
        Sealed(
            "encrypted by dotenvx",
            "dotenvx decrypt -f {file} --stdout | strongroom import -",
            _of_dotenvx(values),
        ),
        Sealed(
            "encrypted by ansible-vault",
            "ansible -m debug shows what each stands for",
            _which(values, lambda value: value.startswith("$ANSIBLE_VAULT;")),
        ),
        Sealed(
            "a reference of 1Password, `op://…`",
            "op inject -i {file} | strongroom import - --format {kind}",
            _which(values, _ONE_PASSWORD.fullmatch),
        ),
        Sealed(
            "a reference of vals, `ref+…://`",
            "vals eval -f {file} | strongroom import - --format yaml, of a file in YAML",
            _which(values, _VALS.fullmatch),
        ),
    ]
    if values.get("kind") == "SealedSecret":
        what = "it is a SealedSecret, which only its cluster opens"
        kinds.append(Sealed(what, "read the Secret that the cluster made of it", ("kind",)))
    if values.get("kind") == "Secret" and "apiVersion" in values:
        what = "it is a Kubernetes Secret, whose data is base64"
        advice = (
            "kubectl get secret NAME -o json | jq '.data | map_values(@base64d)', to import - --format json"
        )
        kinds.append(Sealed(what, advice, ("kind",)))
    return [one for one in kinds if one.names]


def refuse_sealed_values(path: Path, kind: str, values: Mapping[str, str]) -> None:
    """Raise `UsageError` if any of `values` are ciphertext or references of a known tool.

    Args:
        path: The file.
        kind: Its format, for the advice.
        values: The values that the file holds.
    """
    found = sealed_values(values)
    if found:
        said = [f"{path}: {_listed(one.names)}: {one.what}" for one in found]
        raise UsageError("; ".join(said), hint=advice(found, path, kind))


def advice(found: Sequence[Sealed], path: Path, kind: str) -> str:
    """Return how to decrypt or look up all that was found in the file at `path`."""
    return "; ".join(one.advice.format(file=path, kind=kind) for one in found)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _of_sops(values: Mapping[str, str]) -> tuple[str, ...]:
    sealed = _which(values, lambda value: value.startswith(_SOPS))
    return sealed or tuple(name for name in ("sops/mac", "sops_mac", "sops/version") if name in values)


def _of_dotenvx(values: Mapping[str, str]) -> tuple[str, ...]:
    if any(name.startswith("DOTENV_PUBLIC_KEY") for name in values):
        return _which(values, lambda value: value.startswith("encrypted:"))
    return _which(values, _DOTENVX.fullmatch)


def _which(values: Mapping[str, str], is_so: Callable[[str], object]) -> tuple[str, ...]:
    return tuple(name for name, value in values.items() if is_so(value))
