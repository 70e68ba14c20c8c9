"""The constructor's options, checked without any I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from strongroom.deadlines import check_limits
from strongroom.errors import ConfigurationError, show_key

from strongroom_azure.credentials import problem
from strongroom_azure.names import MAX_TAG, MOST_KEY_TAGS, OWN_TAGS, units

MOST_TAGS = 15 - MOST_KEY_TAGS - 1
"""A version has 15 tags at most; a long key takes some, and the date of writing one."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `AzureSecretProvider`; see there for their meaning."""

    vault_url: str
    credential: Any = field(repr=False)
    client_options: dict[str, Any] = field(repr=False)
    timeout: float
    deadline: float | None
    max_workers: int
    purge: bool
    tags: dict[str, str]


def checked(**given: Any) -> Options:
    """Return the options in the form the provider works with.

    Raises:
        ConfigurationError: One is malformed.
    """
    options = Options(
        **{
            **given,
            "vault_url": _address(given["vault_url"]),
            "client_options": dict(given["client_options"] or {}),
            "tags": dict(given["tags"] or {}),
        }
    )
    _check_login(options.credential)
    _check_tags(options.tags)
    doubled = options.client_options.keys() & {"vault_url", "credential"}
    if doubled:
        raise bad(
            f"client_options must not hold {' and '.join(sorted(doubled))}: they are options of their own"
        )
    counts = {"max_workers": options.max_workers}
    check_limits("azure", timeout=options.timeout, deadline=options.deadline, counts=counts)
    return options


def bad(what: str, hint: str | None = None) -> ConfigurationError:
    """Return the error for a wrong option."""
    return ConfigurationError(f"azure: {what}", provider="azure", hint=hint)


def _address(url: Any) -> str:
    if isinstance(url, str):
        try:
            parts = urlsplit(url.strip())
            whole = parts.scheme == "https" and parts.path in ("", "/") and not parts.query + parts.fragment
            host = parts.netloc.removesuffix(f":{parts.port}") if parts.port is not None else parts.netloc
        except ValueError:
            whole, host = False, ""
        if whole and _HOST.fullmatch(host):
            return f"https://{parts.netloc}"
    # With a user or a signature in it, it is not shown.
    got = "one with a user, options or an anchor" if re.search("[@?#]", str(url)) else show_key(url)
    raise bad(
        f"vault_url must be the https:// address of a vault, got {got}",
        "as in 'https://my-vault.vault.azure.net'",
    )


def _check_login(credential: Any) -> None:
    if credential is None:
        return
    if isinstance(credential, Mapping):
        wrong = problem(credential)
        if wrong:
            raise bad(wrong, "the docs page of azure lists the methods and their members")
    elif not callable(getattr(credential, "get_token", None)) and not callable(
        getattr(credential, "get_token_info", None)
    ):
        raise bad(
            f"credential must have a method get_token, or be a mapping, got a {type(credential).__name__}",
            "leave it out for Azure's standard chain, or give one of azure-identity's credentials",
        )


def _check_tags(tags: dict[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise bad(
            f"at most {MOST_TAGS} tags, got {len(tags)}", "Key Vault takes 15, strongroom uses the others"
        )
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise bad("the names and values of tags must be text")
        if not name or units(name) > MAX_TAG or units(value) > MAX_TAG:
            raise bad(
                f"the tag {show_key(name)} or its value is longer than {MAX_TAG} characters, or has no name"
            )
        if name.lower().startswith(OWN_TAGS):
            raise bad(
                f"tags must not begin with {OWN_TAGS!r}, got {show_key(name)}",
                "strongroom keeps its own there",
            )
