"""What `strongroom init` finds around it: other stores this machine can reach, and what values seem to be.

Only looked at: which variables are set, and which files are there. No file of credentials is opened, and no
service is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["backends_found", "likely_type"]


class Backend(NamedTuple):
    """What tells that a backend is there, and the commented piece of a spec that would use it."""

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
_TYPES = ("url", "port", "integer", "boolean", "email", "pem", "json")


def backends_found(environ: Mapping[str, str]) -> Iterable[str]:
    """Yield the commented pieces of a spec for what this machine can reach, each saying how that is known."""
    for backend in _BACKENDS:
        variable = next((name for name in backend.variables if environ.get(name)), None)
        file = next((name for name in backend.files if _is_there(name)), None)
        if variable is not None or file is not None:
            found = f"{variable} is set" if variable is not None else f"{file} is there"
            family = "BAO" if variable == "BAO_ADDR" else "VAULT"
            yield backend.text.format(found=found, address=f"{family}_ADDR", token=f"{family}_TOKEN")


def likely_type(name: str, value: str) -> str | None:
    """Return the type that both a variable's name and its value speak for; None for plain text."""
    from strongroom.rules import check_text
    from strongroom.spec.declared import Position, SecretPlan

    words = name.lower().split("_")
    for kind in _TYPES:
        named = kind in words or (kind == "url" and {"uri", "dsn", "endpoint"} & {*words})
        named = named or (kind == "boolean" and {"debug", "enabled", "verbose"} & {*words})
        named = named or (kind == "integer" and {"count", "timeout", "size", "limit", "workers"} & {*words})
        named = named or (kind == "pem" and value.startswith("-----BEGIN "))
        if named and check_text(SecretPlan(name, name, Position(""), type=kind), value)[1] is None:
            return kind
    return None


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError):  # no home
        return False
