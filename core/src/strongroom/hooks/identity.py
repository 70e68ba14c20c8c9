"""Who is calling: the actor, the system's user, the host, and what started the process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from strongroom.runtime.scopes import OpenBlocks

__all__ = ["acting_as", "actor", "build_service", "coding_tool", "host", "system_user"]


# The first that is set counts; `CI` alone is what the unnamed ones set.
_BUILD_SERVICES = {
    "GITHUB_ACTIONS": "github-actions",
    "GITLAB_CI": "gitlab-ci",
    "CIRCLECI": "circleci",
    "JENKINS_URL": "jenkins",
    "BUILDKITE": "buildkite",
    "TF_BUILD": "azure-pipelines",
    "BITBUCKET_BUILD_NUMBER": "bitbucket",
    "CODEBUILD_BUILD_ID": "codebuild",
    "TEAMCITY_VERSION": "teamcity",
    "TRAVIS": "travis",
    "DRONE": "drone",
    "APPVEYOR": "appveyor",
    "CI": "ci",
}
_CODING_TOOLS = {
    "CLAUDECODE": "claude-code",
    "CURSOR_AGENT": "cursor",
    "CURSOR_TRACE_ID": "cursor",
    "GEMINI_CLI": "gemini-cli",
    "CODEX_SANDBOX": "codex",
    "OPENCODE": "opencode",
    "AUGMENT_AGENT": "augment",
    "REPL_ID": "replit",
}
_NAMED_TOOLS = ("AI_AGENT", "AGENT")
"""Variables that hold the tool's name itself."""
_PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9_.@/-]{0,63}"
_UNSET = frozenset({"", "0", "false", "no"})


def system_user() -> str:
    """Return the operating system's user of this process, which may change, as of a service begun by root."""
    return _name_of(os.geteuid())


@cache
def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user of a container often has no name
        return str(uid)


_acting: OpenBlocks[str] = OpenBlocks("strongroom_actor")
_open_blocks = _acting.open.get


def actor() -> str:
    """Return for whom the current block acts, else what `STRONGROOM_ACTOR` claims, else the system's user."""
    # Every event asks, so this is written for speed. `_acting.innermost()`, written out:
    try:
        acting = _open_blocks()[0].value
    except AttributeError:
        acting = _acting.after_ends_elsewhere()
    if acting:
        return acting
    # Most often the variable is not set, which `os.environ` takes a microsecond to say: it encodes the name,
    # and raises. Python's own has a dictionary of encoded names, which is asked first.
    variables = getattr(os.environ, "_data", None)
    if variables is None or b"STRONGROOM_ACTOR" in variables:
        return os.environ.get("STRONGROOM_ACTOR") or system_user()
    return _name_of(os.geteuid())  # `system_user`, written out


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Let the events of everything done in the block carry `name` as their actor.

    A server that has made sure who its client is calls it; it does not change what is allowed.
    """
    block = _acting.enter(name)
    try:
        yield
    finally:
        _acting.leave(block)


def host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def build_service(environ: Mapping[str, str]) -> str | None:
    """Return the build service that set `environ`, if any."""
    return next((name for variable, name in _BUILD_SERVICES.items() if _is_set(environ, variable)), None)


def coding_tool(environ: Mapping[str, str]) -> str | None:
    """Return the coding tool that set `environ`, if any."""
    for variable, name in _CODING_TOOLS.items():
        if _is_set(environ, variable):
            return name
    for variable in _NAMED_TOOLS:
        # Whatever does not look like a name is not copied into a log.
        if _is_set(environ, variable) and re.fullmatch(_PLAIN_NAME, environ[variable]):
            return environ[variable]
    return None


def _is_set(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "").lower() not in _UNSET
