"""Logins described by a mapping, as in YAML: which credential of azure-identity each method stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from strongroom.errors import ConfigurationError
from strongroom.plugins.credentials import newest

from strongroom_azure.errors import without_answer

PUBLIC_CLOUD = "login.microsoftonline.com"


class Method(NamedTuple):
    """A class of azure-identity, the members it needs and those it may have."""

    class_name: str
    needed: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


METHODS: dict[str, Method] = {
    "default": Method(
        "DefaultAzureCredential", (), ("managed_identity_client_id", "workload_identity_client_id")
    ),
    "client_secret": Method(
        "ClientSecretCredential", ("tenant_id", "client_id", "client_secret"), ("authority",)
    ),
    "client_certificate": Method(
        "CertificateCredential",
        ("tenant_id", "client_id"),
        ("certificate", "certificate_path", "password", "send_certificate_chain", "authority"),
    ),
    "managed_identity": Method("ManagedIdentityCredential", (), ("client_id", "object_id", "resource_id")),
    "workload_identity": Method(
        "WorkloadIdentityCredential", (), ("tenant_id", "client_id", "token_file_path", "authority")
    ),
    "azure_cli": Method("AzureCliCredential", (), ("tenant_id",)),
}
_LOGGERS = tuple(
    f"azure.identity.{name}"
    for name in ("_internal.get_token_mixin", "_internal.decorators", "_credentials.chained")
)
"""Loggers that warn of a failed login with the text of its error."""
_SECRET_MEMBERS = ("client_secret", "certificate", "password")


def problem(credential: Mapping[str, Any]) -> str | None:
    """Return the problem of a described login, or None; the text holds no value of a member."""
    name = credential.get("method")
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        return f"credential needs a method, one of {', '.join(METHODS)}"
    unknown = sorted(
        str(member) for member in credential.keys() - {"method", *method.needed, *method.allowed}
    )
    if unknown:
        known = ", ".join((*method.needed, *method.allowed))
        return f"credential of method {name}: unknown {', '.join(unknown)}; it takes {known}"
    missing = [member for member in method.needed if not credential.get(member)]
    if missing:
        return f"credential of method {name} needs {', '.join(missing)}"
    if name == "client_certificate" and bool(credential.get("certificate")) == bool(
        credential.get("certificate_path")
    ):
        return "credential of method client_certificate needs one of certificate and certificate_path"
    if name == "managed_identity" and sum(bool(credential.get(member)) for member in method.allowed) > 1:
        return "credential of method managed_identity takes one of client_id, object_id and resource_id"
    return None


def build(credential: Mapping[str, Any]) -> Any:
    """Return azure-identity's credential for a described login without problems.

    Raises:
        ConfigurationError: azure-identity refuses a member.
    """
    import azure.identity

    from strongroom_azure.service import LoginTransport

    for logger in _LOGGERS:
        logging.getLogger(logger).addFilter(_hide_answer)
    members = {name: value for name, value in credential.items() if name != "method" and value is not None}
    kind: Callable[..., Any] = getattr(azure.identity, METHODS[credential["method"]].class_name)
    secrets = [str(members[name]) for name in _SECRET_MEMBERS if members.get(name)]
    # The command `az` is asked, and no server.
    transport = {} if credential["method"] == "azure_cli" else {"transport": LoginTransport()}
    try:
        return kind(**_arguments(credential["method"], members), **transport)
    except Exception as error:  # noqa: BLE001  # whatever it is, its text may hold the secret
        reason = f"{type(error).__name__}: {error}"
    if any(secret in reason for secret in secrets):
        reason = reason.partition(":")[0]
    raise ConfigurationError(
        f"azure: credential of method {credential['method']}: {' '.join(reason.split())}",
        provider="azure",
        hint="check its members; `az login --service-principal` takes the same ones",
    )


def _hide_answer(record: logging.LogRecord) -> bool:
    """Remove an unreadable answer from a warning of azure-identity, which may be printed."""
    text = record.getMessage()
    hidden = without_answer(text)
    if hidden != text:
        record.msg, record.args, record.exc_info = hidden, (), None
    return True


class Login:
    """A described login; if it is refused, it is tried once with the present values of its references.

    Args:
        described: The login without problems, with its references.

    Raises:
        ConfigurationError: azure-identity refuses a member.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._described = described
        self._made: list[Any] = []
        self._current = self._make(described)

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return a token, as azure-identity's credentials do."""
        return self._asked("get_token", *scopes, **options)

    def get_token_info(self, *scopes: str, **options: Any) -> Any:
        """Return a token with more about it, as azure-identity's credentials do."""
        return self._asked("get_token_info", *scopes, **options)

    def close(self) -> None:
        """Close the credentials."""
        for one in self._made:
            one.close()

    def _make(self, members: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
        made = build(members)
        self._made.append(made)
        return members, made

    def _asked(self, method: str, *scopes: str, **options: Any) -> Any:
        from azure.core.exceptions import ClientAuthenticationError

        members, login = self._current
        try:
            return getattr(login, method)(*scopes, **options)
        except ClientAuthenticationError:
            newer = newest(self._described)
            if newer == members or problem(newer) is not None:
                raise
        self._current = self._make(newer)
        return getattr(self._current[1], method)(*scopes, **options)


def _arguments(method: str, members: dict[str, Any]) -> dict[str, Any]:
    if method in ("client_secret", "client_certificate"):
        # azure-identity would look at AZURE_AUTHORITY_HOST, and options beat the environment.
        members.setdefault("authority", PUBLIC_CLOUD)
    if "certificate" in members:
        members["certificate_data"] = str(members.pop("certificate")).encode()
    if method == "managed_identity":
        identity = {
            name: members.pop(name) for name in ("object_id", "resource_id") if members.get(name) is not None
        }
        if identity:
            members["identity_config"] = identity
    return members
