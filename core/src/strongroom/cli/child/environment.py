"""The environment of a child: what it inherits, what is removed, and names that secrets must not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from strongroom.cli.errors import UsageError
from strongroom.errors import ValidationError

__all__ = [
    "REFUSED",
    "child_environment",
    "is_dangerous",
    "refuse_dangerous",
    "refuse_undeclared",
    "refuse_unholdable",
    "why_dangerous",
]

OWN_PREFIX = "STRONGROOM_"
# Variables that decide which code runs: those of the loader, shells and interpreters, and of tools.
_DANGEROUS_PREFIXES = ("LD_", "DYLD_", "PYTHON", "BASH_FUNC_", "_RLD", "GIT_CONFIG")
_DANGEROUS = frozenset(
    {
        *("PATH", "HOME", "TMPDIR", "SHELL", "IFS", "ENV", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "CDPATH"),
        *("GLOBIGNORE", "PS4", "PROMPT_COMMAND", "ZDOTDIR"),
        *("GCONV_PATH", "GLIBC_TUNABLES", "HOSTALIASES", "LOCPATH", "NLSPATH", "MALLOC_TRACE", "TZDIR"),
        *("RESOLV_HOST_CONF", "RES_OPTIONS", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES"),
        *("NODE_OPTIONS", "NODE_PATH", "PERL5LIB", "PERL5OPT", "PERL5DB", "PERLLIB", "RUBYLIB", "RUBYOPT"),
        *("CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "DOTNET_STARTUP_HOOKS"),
        *("PHPRC", "PHP_INI_SCAN_DIR", "LUA_PATH", "LUA_CPATH", "LUA_INIT"),
        *("GIT_EXEC_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_EDITOR"),
        *("GIT_ASKPASS", "SSH_ASKPASS", "EDITOR", "VISUAL", "PAGER", "MANPAGER", "BROWSER"),
        *("LESSOPEN", "LESSCLOSE", "VIMINIT", "EXINIT", "SUDO_ASKPASS", "GTK_MODULES", "QT_PLUGIN_PATH"),
        *("GIT_TEMPLATE_DIR", "GIT_PROXY_COMMAND", "GIT_SEQUENCE_EDITOR", "ELECTRON_RUN_AS_NODE"),
        *("MAKEFLAGS", "GOFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "MAVEN_OPTS", "GRADLE_OPTS"),
        *("GEM_HOME", "GEM_PATH", "BUNDLE_GEMFILE", "R_PROFILE", "R_PROFILE_USER", "R_ENVIRON"),
        *("ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS", "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE"),
        *("CORECLR_ENABLE_PROFILING", "CORECLR_PROFILER", "CORECLR_PROFILER_PATH"),
        *("COR_ENABLE_PROFILING", "COR_PROFILER", "COR_PROFILER_PATH"),
    }
)
# Variables that decide which servers a program talks to, and which certificates it trusts. A spec may declare
# such a secret (a proxy's URL holds a password). A name that comes from a key must not be one, since anyone
# who may write keys would decide it.
_TRUSTED = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"),
    }
)
REFUSED = "such a variable decides which code a program runs; declare the secret under another name"


def is_dangerous(name: str) -> bool:
    """Return whether a variable of this name would change what code a program runs."""
    return name in _DANGEROUS or name.startswith(_DANGEROUS_PREFIXES)


def why_dangerous(name: str) -> str | None:
    """Return why a variable of this name is refused; None if it is not."""
    return REFUSED if is_dangerous(name) else None


def refuse_dangerous(names: Iterable[str]) -> None:
    """Raise `UsageError` naming every dangerous one of `names`."""
    bad = sorted(filter(is_dangerous, names))
    if bad:
        raise UsageError(
            f"refused as a secret's name: {', '.join(bad)}",
            hint=REFUSED,
        )


def refuse_undeclared(names: Iterable[str]) -> None:
    """Raise `UsageError` naming every one of `names` that must be declared, and not just come from a key."""
    refuse_dangerous(names)
    bad = sorted(name for name in names if name.upper() in _TRUSTED)
    if bad:
        raise UsageError(
            f"refused as a key's name: {', '.join(bad)}",
            hint="such a variable decides whom a program talks to or trusts; "
            "declare it in `secrets:` if that is intended",
        )


def refuse_unholdable(variables: Mapping[str, str]) -> None:
    """Raise `ValidationError` naming every variable whose text the environment cannot hold."""
    bad = sorted(name for name, text in variables.items() if "\0" in text)
    if bad:
        raise ValidationError(
            f"a NUL character, which no environment holds, is in: {', '.join(bad)}",
            hint="declare it with `as_file: true`, or store it as base64",
        )


def child_environment(
    inherited: Mapping[str, str],
    given: Mapping[str, str],
    *,
    credentials: Collection[str],
    keep: Collection[str] = (),
) -> dict[str, str]:
    """Return the child's variables.

    Args:
        inherited: The variables of this process.
        given: The declared secrets.
        credentials: Variables that the spec reads, which the child does not get.
        keep: Exceptions: variables of strongroom or of `credentials` that the child needs.
    """
    left = {
        name: text
        for name, text in inherited.items()
        if name in keep or not (name.startswith(OWN_PREFIX) or name in credentials)
    }
    return left | dict(given)
