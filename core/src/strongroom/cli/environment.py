"""The environment of a child: what it inherits, what is taken out, what a secret must not be called."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from strongroom.cli.failures import UsageError
from strongroom.errors import ValidationError

__all__ = ["child_environment", "is_dangerous", "refuse_dangerous", "refuse_unholdable"]

OWN_PREFIX = "STRONGROOM_"
# Variables that decide which code runs: the loader's, the shells', the interpreters' and what tools start.
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
        *("LESSOPEN", "LESSCLOSE"),
    }
)


def is_dangerous(name: str) -> bool:
    """Tell whether a variable of this name would change what code a program runs."""
    return name in _DANGEROUS or name.startswith(_DANGEROUS_PREFIXES)


def refuse_dangerous(names: Iterable[str]) -> None:
    """Raise `UsageError` naming every dangerous one of `names`."""
    bad = sorted(filter(is_dangerous, names))
    if bad:
        raise UsageError(
            f"refused as a secret's name: {', '.join(bad)}",
            hint="such a variable decides which code a program runs; declare the secret under another name",
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
        credentials: Variables that the spec reads; the child has no business with them.
        keep: Those of strongroom's own variables and of `credentials` that it does need.
    """
    left = {
        name: text
        for name, text in inherited.items()
        if name in keep or not (name.startswith(OWN_PREFIX) or name in credentials)
    }
    return left | dict(given)
