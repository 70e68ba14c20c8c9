"""Guesses of `strongroom init`: other backends that this machine can reach, and the types of values.

For backends it only looks which variables are set, and which files are there. No file of credentials is
opened, and no service is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["guess_type", "is_setting", "suggested_pipelines"]


class Backend(NamedTuple):
    """The signs of a backend, and the commented part of a spec that would use it."""

    variables: tuple[str, ...]
    files: tuple[str, ...]
    text: str


_BACKENDS = (
    Backend(
        ("VAULT_ADDR", "BAO_ADDR"),
        ("~/.vault-token",),
        """\
  # {found}, so there is a Vault or OpenBao (pip install 'strongroom[vault]'):
  # vault:
  #   provider: {{type: vault, url: "${{env:{address}}}", token: "${{env:{token}}}"}}
""",
    ),
    Backend(
        (
            "AWS_PROFILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
        ),
        ("~/.aws/credentials", "~/.aws/config"),
        """\
  # {found}, so there are AWS credentials (pip install 'strongroom[aws]'):
  # aws:
  #   provider: {{type: aws, region_name: "${{env:AWS_DEFAULT_REGION:-us-east-1}}"}}
""",
    ),
    Backend(
        ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("~/.config/gcloud/application_default_credentials.json",),
        """\
  # {found}, so there are Google Cloud credentials (pip install 'strongroom[gcp]'):
  # gcp:
  #   provider: {{type: gcp, project_id: "${{env:GOOGLE_CLOUD_PROJECT}}"}}
""",
    ),
    Backend(
        ("AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        ("~/.azure/azureProfile.json",),
        """\
  # {found}, so there are Azure credentials (pip install 'strongroom[azure]'):
  # azure:
  #   provider: {{type: azure, vault_url: "https://NAME.vault.azure.net"}}
""",
    ),
)
_WORDS = re.compile(r"[a-z0-9]+")
_SECRETIVE = frozenset(
    {
        *("password", "passwd", "pass", "pwd", "pw", "passphrase", "passcode", "pin", "otp", "totp", "mfa"),
        *("secret", "secrets", "token", "tokens", "key", "keys", "apikey", "credential", "credentials"),
        *("creds", "auth", "authorization", "bearer", "jwt", "cookie", "session", "csrf", "private", "cert"),
        *("certificate", "salt", "pepper", "seed", "nonce", "signature", "signing", "hmac", "dsn", "webhook"),
        *("licence", "license", "sas", "recovery"),
    }
)
"""Words in the name of a variable that may hold a secret, whatever its value looks like."""
_SECRETIVE_ENDS = ("password", "passwd", "secret", "token", "key", "pass", "pwd", "credentials")
_ABOUT = frozenset(
    {
        *("ttl", "timeout", "length", "size", "count", "days", "hours", "minutes", "seconds", "limit", "age"),
        *("enabled", "disabled", "host", "port", "level", "region", "rounds", "algorithm", "type", "mode"),
    }
)
"""Last words of names that describe a secret, such as `TOKEN_TTL`, and do not hold it."""
_MOST_CHARACTERS, _MOST_LETTERS, _MOST_WORDS, _SHORT = 64, 20, 3, 3
_NUMBER = re.compile(r"[-+]?[0-9]{1,8}(\.[0-9]{1,6})?(ms|s|m|h|d|k|kb|mb|gb|%)?")
_HOST = re.compile(
    # An address with its port, or a name with a domain that people have; perhaps as a URL of nothing more.
    r"([a-z][a-z0-9+]{1,9}://)?"
    r"(localhost|([0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9a-f:]+\]|::1?"
    r"|([a-z]([a-z0-9-]{0,28}[a-z0-9])?\.){1,5}(com|org|net|io|dev|app|cloud|local|internal|lan|svc|test|example|eu|de|uk|us))"
    r"(:[0-9]{1,5})?/?"
)
_PLAIN = re.compile(r"[a-z]+([-_./:, ][a-z]+){0,3}([-_]?[0-9]{1,2})?")
_JOINTS = re.compile(r"[-_./:, ]|(?<=[a-z])(?=[0-9])")
_VOWEL = re.compile(r"[aeiouy]")
_HARD_TO_SAY = re.compile(r"[^aeiouy0-9]{5}|[aeiouy]{4}|[qxz][qxzjkv]|q[^u]")
_TYPES = ("url", "port", "integer", "boolean", "email", "pem", "json")


def suggested_pipelines(environ: Mapping[str, str]) -> Iterable[str]:
    """Yield commented parts of a spec for the backends that this machine may reach, with the reasons."""
    for backend in _BACKENDS:
        variable = next((name for name in backend.variables if environ.get(name)), None)
        file = next((name for name in backend.files if _is_there(name)), None)
        if variable is not None or file is not None:
            found = f"{variable} is set" if variable is not None else f"{file} is there"
            family = "BAO" if variable == "BAO_ADDR" else "VAULT"
            yield backend.text.format(found=found, address=f"{family}_ADDR", token=f"{family}_TOKEN")


def guess_type(name: str, value: str) -> str | None:
    """Return the type that both name and value of a variable suggest; None for plain text."""
    from strongroom.declarations.value_types import check_text
    from strongroom.spec.secret_plan import Position, SecretPlan

    words = name.lower().split("_")
    for kind in _TYPES:
        named = kind in words or (kind == "url" and {"uri", "dsn", "endpoint"} & {*words})
        named = named or (kind == "boolean" and {"debug", "enabled", "verbose"} & {*words})
        named = named or (kind == "integer" and {"count", "timeout", "size", "limit", "workers"} & {*words})
        named = named or (kind == "pem" and value.startswith("-----BEGIN "))
        if named and check_text(SecretPlan(name, name, Position(""), type=kind), value)[1] is None:
            return kind
    return None


def is_setting(name: str, value: str) -> bool:
    """Return whether a variable holds a setting that is not secret: a log level, a host, a region, a flag.

    It does not if its name speaks of a secret. Otherwise it does if the value is a number, a boolean, the
    name of a host, or a few plain words.
    """
    words = _WORDS.findall(name.lower())
    speaks = not _SECRETIVE.isdisjoint(words) or any(word.endswith(_SECRETIVE_ENDS) for word in words)
    if speaks and words[-1] not in _ABOUT:
        return False
    text = value.strip().lower()
    if len(text) > _MOST_CHARACTERS:
        return False
    if _NUMBER.fullmatch(text) or _HOST.fullmatch(text):
        return True
    return len(text) <= _MOST_LETTERS and _is_plain(text)


def _is_plain(text: str) -> bool:
    """Return whether `text` looks like one to three words of a language, as in `eu-central-1`."""
    parts = _JOINTS.split(text)
    return (
        _PLAIN.fullmatch(text) is not None
        and len(parts) <= _MOST_WORDS
        and all(
            part.isdigit() or len(part) <= _SHORT or (_VOWEL.search(part) and not _HARD_TO_SAY.search(part))
            for part in parts
        )
    )


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError):  # no home
        return False
