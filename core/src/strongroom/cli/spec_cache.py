"""What a validated spec came to, by its hash, so that `get` and `run` need not load YAML and pydantic again.

Only the plainest outcome is remembered: every key goes to one provider whose options are paths, nothing
watches it, and no middleware changes what is read. The record holds paths and what the spec declares, and no
secret. Whatever differs
from the time it was made (the spec's bytes, the program, its plugins, the settings in the environment) makes
it worthless, and whatever goes wrong on this way is done again on the whole one, which tells the error.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import stat
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from strongroom._version import __version__
from strongroom.errors import SecretNotFoundError
from strongroom.paths.ownership import distrust, roots_own
from strongroom.spec.found import find_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["CachedSpec", "recall", "remember"]

_FORMAT = "2"
_MAX_SPEC_BYTES = 1 << 20
_HARMLESS = frozenset(
    {"STRONGROOM_ACTOR", "STRONGROOM_AUDIT_KEY", "STRONGROOM_ENCRYPTION_KEY", "STRONGROOM_REASON"}
)
_PLACES = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
_SAME_READS = frozenset({"retry"})
"""Middleware that never changes what a read that succeeds returns."""
_LEFT_OUT = frozenset({"position", "description", "generate", "rotate", "rotate_days"})
"""Members of a declaration that decide nothing when its secret is handed over."""


class CachedSpec:
    """A registry as far as reads of plain specs need one: a provider, and what is declared.

    Attributes:
        provider: It answers every key; leaving the context closes it.
        pipeline: The name of its pipeline.
        origin: As that of a plan.
        source: The path of the spec.
        secrets: What is declared, by name.
    """

    def __init__(self, provider: Any, pipeline: str, spec: _Spec, declared: str) -> None:
        self.provider = provider
        self.pipeline = pipeline
        self.origin = spec.origin
        self.source = spec.path
        self._declared = declared

    @property
    def plan(self) -> Self:
        return self

    @cached_property
    def secrets(self) -> dict[str, SecretPlan]:
        import json

        from strongroom.spec.secret_plan import Position, SecretPlan

        nowhere = Position("a remembered spec")  # what is wrong is reported on the whole way
        secrets: dict[str, SecretPlan] = {}
        for told in json.loads(self._declared):
            members: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
            }
            secrets[told["name"]] = SecretPlan(position=nowhere, **members)
        return secrets

    def get_secret(self, key: str) -> str:
        value: str = self.provider.get_secret(key)
        return value

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key in keys:
            try:
                found[key] = self.get_secret(key)
            except SecretNotFoundError as error:
                if error.reason != "absent":
                    raise
        return found

    def environment(self) -> frozenset[str]:
        """Return nothing: a spec that reads variables is not remembered."""
        return frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.provider.close()


def recall(settings: GlobalOptions) -> CachedSpec | None:
    """Return what answers every key, or None where that may have changed."""
    spec, folder = _spec(settings), _folder()
    if spec is None or folder is None:
        return None
    try:
        with open(folder + _fingerprint(spec), encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            record, _, declared = file.read().partition("\n\n")
            closed, pipeline, factory, *lines = record.split("\n")
            options = dict(line.split("=", 1) for line in lines)
    except (OSError, ValueError):
        return None
    if spec.origin == "found" and not _may_be_used(spec, options.values() if closed else None):
        return None
    module, _, attribute = factory.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):  # the program has changed: the whole way tells what is wrong
        return None
    return CachedSpec(made(**options), pipeline, spec, declared)


def _may_be_used(spec: _Spec, paths: Iterable[str] | None) -> bool:
    """Tell whether a spec that was found is root's, closed as it was, or trusted.

    Args:
        spec: The spec.
        paths: Those that it uses, where it was closed; what they lead to may have changed.
    """
    from strongroom.spec.inside import why_outside

    if spec.status is None or roots_own(spec.path, spec.status):
        return True
    folder = os.path.dirname(os.path.abspath(spec.path))
    if paths is not None and all(why_outside(path, folder) is None for path in paths):
        return True
    from strongroom.spec.trust import is_trusted

    return is_trusted(os.path.realpath(spec.path), spec.data, spec.status)


def remember(settings: GlobalOptions, registry: SecretProviderRegistry) -> None:
    """Keep what the spec came to, where it is plain enough and there is a place to keep it."""
    spec = _spec(settings)
    # What was read and what is remembered by its name must be the same bytes.
    same = spec is not None and registry.plan.digest in {"", hashlib.sha256(spec.data).hexdigest()}
    lines = _record(registry) if spec is not None and same else None
    if spec is None or lines is None or any("\n" in line for line in lines):
        return
    name, declared = _fingerprint(spec), _declared(registry)
    from pathlib import Path

    from strongroom.paths.atomic_write import write_atomically

    place = _folder()
    if place is None:
        return
    folder = Path(place)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.iterdir():  # a record a spec is enough; an older one is of no use to anybody
            if old.name.startswith(name[:_OWNER_DIGITS]):
                old.unlink()
        write_atomically(folder / name, "\n".join([*lines, "", declared]).encode())
    except OSError:
        return  # a read-only home: the next call takes the whole way, as this one did


def _record(registry: SecretProviderRegistry) -> list[str] | None:
    from pathlib import Path

    from strongroom.plugins import finder

    plan = registry.plan
    plain = plan.default is not None and not plan.routes and not plan.hooks
    pipeline = plan.pipelines[plan.default] if plain and plan.default is not None else None
    if pipeline is None or pipeline.provider is None or pipeline.hooks:
        return None
    part = pipeline.provider
    if part.reads or part.environment or {one.type for one in pipeline.middleware} - _SAME_READS:
        return None
    if not isinstance(part.factory, str):
        return None
    options = dict(part.options or {}) if part.prepare is None else dict(part.prepare(_unused))
    defaults = {
        info.alias or name: info.default
        for name, info in finder.find("provider", part.type).config.model_fields.items()
    }
    told = {name: value for name, value in options.items() if name not in defaults or value != defaults[name]}
    if not told or not all(isinstance(value, Path) for value in told.values()):
        return None
    closed = "closed" if plan.closed else ""
    return [closed, pipeline.name, part.factory, *(f"{name}={value}" for name, value in told.items())]


def _declared(registry: SecretProviderRegistry) -> str:
    import json

    told = []
    for secret in registry.plan.secrets.values():
        members = secret._asdict()
        told.append({name: members[name] for name in members.keys() - _LEFT_OUT if members[name] is not None})
    return json.dumps(told)


def _unused(reference: object) -> str:
    raise AssertionError(reference)  # a part that reads secrets was left out above


def _folder() -> str | None:
    """Return where records are kept: None for a user without a home, never a place in the current folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base and os.environ.get("HOME") != "":  # an empty one would make it the root folder
        base = os.path.expanduser("~/.cache")
    return f"{base}/strongroom/specs/" if os.path.isabs(base) else None


_OWNER_DIGITS = 16


class _Spec:
    """The spec of a call, or, in a call without one, what stands for it."""

    __slots__ = ("data", "origin", "path", "status")

    def __init__(self, path: str, origin: str, data: bytes, status: os.stat_result | None) -> None:
        self.path = path
        self.origin = origin
        self.data = data
        self.status = status


def _spec(settings: GlobalOptions) -> _Spec | None:
    """Return the spec that this call is about; None where the whole way has to tell."""
    if settings.profile is not None or settings.pipeline is not None:
        return None
    if any(name.startswith("STRONGROOM_") and name not in _HARMLESS for name in os.environ):
        return None
    if settings.spec is not None:
        return _read(settings.spec, "named")
    found = find_spec()
    if found is not None:
        return _read(found.path, "found")
    places = "\0".join(os.environ.get(name, "") for name in _PLACES)
    return _Spec("", "own", places.encode(errors="surrogateescape"), None)


def _fingerprint(spec: _Spec) -> str:
    """Return the name of the record for this call: of its spec, then of all that decides what it comes to."""
    where = os.path.abspath(spec.path).encode(errors="surrogateescape") if spec.path else b"embedded"
    # What is installed shows in the times of the folders that modules come from; the first is the script's.
    program = [_FORMAT, __version__, sys.version, sys.prefix]
    told = [*program, *(f"{one}:{_changed(one)}" for one in sys.path[1:])]
    whole = b"\0".join([where, spec.data, "\0".join(told).encode(errors="surrogateescape")])
    return f"{hashlib.sha256(where).hexdigest()[:_OWNER_DIGITS]}-{hashlib.sha256(whole).hexdigest()}"


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns if folder else 0
    except OSError:
        return 0


def _read(path: str, origin: str) -> _Spec | None:
    """Return a spec that nobody else owns or may write."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        mine = distrust(path, status) is None and not os.path.islink(path)
        if not mine or not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SPEC_BYTES:
            return None
        return _Spec(path, origin, os.read(descriptor, _MAX_SPEC_BYTES), status)
    finally:
        os.close(descriptor)
