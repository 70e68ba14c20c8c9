"""Telling files that hold ciphertext or references, or are of a format that is not read: what to do instead.

What is encrypted, or only names where a value is, must not be stored as if it were the value, and what is
read by wrong rules neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from strongroom.cli.errors import UsageError

__all__ = ["refuse_ending", "refuse_sealed_file", "refuse_sealed_values"]

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
"""How files begin that are not read; what they are; and what to do."""

_ENDINGS: dict[str, tuple[str, str]] = {
    ".cred": ("a credential of systemd", "systemd-creds decrypt {file} - | strongroom set KEY"),
    ".csv": ("a table", _EXPORTED),
    ".gpg": (
        "encrypted by OpenPGP, perhaps an entry of pass",
        "pass show ENTRY | head -n 1 | strongroom set KEY",
    ),
    ".ini": ("an INI file", "make JSON of it"),
    ".kdbx": ("a KeePass database", _KEEPASS),
    ".properties": ("a Java properties file, which escapes otherwise than .env", "make JSON of it"),
    ".tfvars": ("a Terraform file", "make JSON of it"),
    ".toml": ("a TOML file", "make JSON of it"),
    ".xml": ("an XML file", _EXPORTED),
}
"""Endings of formats that are not read, each with what it is and what to do."""

_SOPS = "ENC[AES256_GCM,"
_DOTENVX = re.compile(r"encrypted:[A-Za-z0-9+/]{60,}={0,2}")
_ONE_PASSWORD = re.compile(r"op://[^/]+/[^/]+/.+")
_VALS = re.compile(r"(?:secret)?ref\+[a-z][a-z0-9+-]*://.+")


def refuse_ending(path: Path) -> None:
    """Raise `UsageError` for a file whose ending tells a format that is not read."""
    known = _ENDINGS.get(path.suffix.lower())
    if known is not None:
        what, advice = known
        raise UsageError(
            f"{path} is {what}: .env, JSON and YAML are read",
            hint=f"{advice.format(file=path)}; or say with --format which of these it is",
        )


def refuse_sealed_file(path: Path, data: bytes) -> None:
    """Raise `UsageError` for a file that begins as an encrypted one does, or a database."""
    for head, what, advice in _HEADS:
        if data.startswith(head):
            raise UsageError(f"{path} is {what}", hint=advice.format(file=path))


def refuse_sealed_values(path: Path, kind: str, values: Mapping[str, str]) -> None:
    """Raise `UsageError` where values are ciphertext of a tool that is known here, or references for it.

    Args:
        path: The file.
        kind: Its format, for the advice.
        values: What was read of it.
    """
    sealed = _sealed(values) or _references(values)
    if sealed is not None:
        what, advice = sealed
        raise UsageError(f"{path}: {what}", hint=advice.format(file=path, kind=kind))


def _sealed(values: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what tool the values are for, and how to get at them; None where they are in clear."""
    if {"sops/mac", "sops_mac", "sops/version"} & values.keys() or _any(values, _SOPS):
        return "the values are encrypted by sops", "sops -d {file} | strongroom import - --format {kind}"
    if any(_DOTENVX.fullmatch(value) for value in values.values()) or (
        any(name.startswith("DOTENV_PUBLIC_KEY") for name in values) and _any(values, "encrypted:")
    ):
        return "values are encrypted by dotenvx", "dotenvx decrypt -f {file} --stdout | strongroom import -"
    if _any(values, "$ANSIBLE_VAULT;"):
        return "values are encrypted by ansible-vault", "ansible -m debug shows what each stands for"
    if values.get("kind") == "SealedSecret":
        return (
            "it is a SealedSecret, which only its cluster opens",
            "read the Secret that the cluster made of it",
        )
    if values.get("kind") == "Secret" and "apiVersion" in values:
        return (
            "it is a Kubernetes Secret, whose data is base64",
            "kubectl get secret NAME -o json | jq '.data | map_values(@base64d)', to import - --format json",
        )
    return None


def _references(values: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what tool the values are references for, and how to resolve them; None where there are none."""
    if any(map(_ONE_PASSWORD.fullmatch, values.values())):
        return (
            "values are references of 1Password, `op://…`",
            "op inject -i {file} | strongroom import - --format {kind}",
        )
    if any(map(_VALS.fullmatch, values.values())):
        return (
            "values are references of vals, `ref+…://`",
            "vals eval -f {file} | strongroom import - --format yaml, of a file in YAML",
        )
    return None


def _any(values: Mapping[str, str], beginning: str) -> bool:
    return any(value.startswith(beginning) for value in values.values())
