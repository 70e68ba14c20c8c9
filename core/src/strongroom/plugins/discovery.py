"""Descriptors of components and how they are found: lazily, from entry-point metadata.

Looking for the plugin of a type name reads metadata only; just the module behind that name is
imported. What is broken and unused harms nothing; what is broken and named is a `PluginError`.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from strongroom._version import __version__
from strongroom.errors import PluginError
from strongroom.plugins.allowed import allowed_distributions, is_shut_out
from strongroom.plugins.descriptors import (
    CORE,
    GROUP,
    KINDS,
    CachePlugin,
    Kind,
    Plugin,
    RotatorPlugin,
)
from strongroom.plugins.distributions import EntryPoint, Unreadable, entry_points, normalized, start_pydantic
from strongroom.plugins.factories import describe_error
from strongroom.plugins.installed import installed
from strongroom.plugins.known import KNOWN_TYPES
from strongroom.plugins.suggestions import did_you_mean
from strongroom.runtime.forks import forks_wait, renew_after_fork
from strongroom.runtime.frozen import frozen

if TYPE_CHECKING:
    import pluggy

__all__ = ["ComponentInfo", "PluginFinder", "UnknownTypeError", "finder"]


_CHOOSE: Final = "uninstall one, or name the one that counts in STRONGROOM_PLUGINS"
_BUILTINS: Final[Mapping[str, tuple[str, ...]]] = {
    "strongroom.plugins.builtins": ("audit", "caching", "read-only", "retry", "validation"),
    "strongroom.plugins.builtins_encryption": ("aes-gcm", "chacha20", "encryption", "fernet"),
    "strongroom.plugins.builtins_keys": ("prefix", "tenant"),
    "strongroom.plugins.builtins_rotation": ("http",),
}
"""The entry points of core by their module, as its own metadata name them."""
BUILT_IN_NAMES = tuple(name for names in _BUILTINS.values() for name in names)


_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "provider": ("a provider", "`provider:`"),
    "middleware": ("middleware", "`middleware:`"),
    "hook": ("a hook", "`hooks:`"),
    "encryption": ("a cipher", "`cipher:` of {type: encryption}"),
    "cache": ("a cache store", "`l2:` of {type: caching}"),
    "rotator": ("a rotator", "`rotate: {rotator: …}` of a secret"),
}
"""What a component of each kind is called, and where a spec names it."""


class UnknownTypeError(PluginError):
    """No installed plugin has this type name, so the spec that says it is wrong."""


@frozen
class ComponentInfo:
    """One row of `strongroom plugins`: a component, or an entry point that gives none."""

    name: str
    kind: Kind | None
    distribution: str
    version: str
    summary: str = ""
    error: str | None = None
    plugin: Plugin | None = None
    hint: str | None = None


class PluginFinder:
    """Finds components among the installed distributions; thread-safe, and lazy throughout."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forget()
        renew_after_fork(self, PluginFinder._after_fork)

    def _forget(self) -> None:
        self._entries: list[EntryPoint] | None = None
        self.seen: tuple[str, ...] = ()
        """What was installed as the entry points were looked for; empty before."""
        self._unreadable: list[Unreadable] = []
        self._loaded: dict[EntryPoint, dict[tuple[Kind, str], Plugin] | str] = {}
        self._bad_names: dict[EntryPoint, list[tuple[Kind, str, str]]] = {}
        self._manager: pluggy.PluginManager | None = None

    def _after_fork(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._forget()  # a thread that is gone was in the middle of it
        self._lock = threading.RLock()

    def find(self, kind: Kind, type_name: str) -> Plugin:
        """Return the descriptor of `type_name`.

        Raises:
            PluginError: There are two, or its plugin is broken; the message says which.
            UnknownTypeError: There is none.
        """
        with forks_wait(), self._lock:
            entry = self._entry_for(kind, type_name)
            loaded = self._load(entry)
            if isinstance(loaded, str):
                raise PluginError(
                    f"{kind} {type_name!r}: plugin {entry.name!r} of {entry.owner} is broken: {loaded}",
                    hint=f"reinstall or upgrade {entry.distribution}",
                )
            found = loaded.get((kind, type_name))
            if found is not None:
                return found
            for bad_kind, name, why in self._bad_names.get(entry, ()):
                if (bad_kind, name) == (kind, type_name):
                    raise PluginError(f"{kind} {type_name!r} of {entry.owner} is unusable: {why}")
            core = [one for one in self._all_entries() if one.distribution == entry.distribution == CORE]
            here = sorted({name for one in core or [entry] for name in self._names_in(one, kind)})
            others = f"it has: {', '.join(here)}" if here else f"it has no {kind} at all"
            kinds = [found_kind for found_kind, name in loaded if name == type_name]
            raise UnknownTypeError(
                f"{entry.owner} has no {kind} {type_name!r}", hint=_place_of(type_name, kinds) or others
            )

    def list_components(self) -> list[ComponentInfo]:
        """Return every component and every broken entry point, for `strongroom plugins`."""
        rows: list[ComponentInfo] = []
        with forks_wait(), self._lock:
            for entry in self._all_entries():
                loaded = self._load(entry)
                owner = (entry.distribution, entry.version)
                if isinstance(loaded, str):
                    rows.append(ComponentInfo(entry.name, None, *owner, error=loaded))
                    continue
                for (kind, name), plugin in loaded.items():
                    if entry.distribution == CORE and name != entry.name:
                        continue  # a module of core holds several; each name has its own entry point
                    twins = sorted(
                        other.owner
                        for other in self._candidates(name)
                        if other.distribution != entry.distribution
                    )
                    error = f"also provided by {', '.join(twins)}" if twins else None
                    hint = _CHOOSE if twins else None
                    rows.append(ComponentInfo(name, kind, *owner, plugin.summary, error, plugin, hint))
                rows += [
                    ComponentInfo(name, kind, *owner, error=why)
                    for kind, name, why in self._bad_names.get(entry, ())
                ]
            rows += [
                ComponentInfo(
                    "-", None, folder.rpartition("/")[2], "-", error=f"{folder} is passed over: {why}"
                )
                for folder, why in self._unreadable
            ]
        return sorted(rows, key=lambda row: (row.kind or "", row.name, row.distribution))

    def _all_entries(self) -> list[EntryPoint]:
        if self._entries is None:
            self.seen = installed()
            self._entries, self._unreadable = entry_points(GROUP)
            # A program that was packed without metadata still has core's modules.
            if not any(one.distribution == CORE for one in self._entries):
                self._entries += [
                    EntryPoint(name, module, CORE, __version__)
                    for module, names in _BUILTINS.items()
                    for name in names
                ]
        # Asked for each time: an application may set it after the first look.
        allowed = allowed_distributions()
        return [
            entry
            for entry in self._entries
            if allowed is None or entry.distribution == CORE or normalized(entry.distribution) in allowed
        ]

    def _candidates(self, type_name: str) -> list[EntryPoint]:
        # The longest entry-point name wins, so that `acme.transit` may have an entry point of its own.
        name = type_name
        while name:
            found = [entry for entry in self._all_entries() if entry.name == name]
            if found:
                return found
            name = name.rpartition(".")[0]
        return []

    def _entry_for(self, kind: Kind, type_name: str) -> EntryPoint:
        candidates = self._candidates(type_name)
        if not candidates:
            raise self._unknown(kind, type_name)
        if len({entry.distribution for entry in candidates}) > 1:
            owners = " and ".join(sorted(entry.owner for entry in candidates))
            raise PluginError(
                f"{kind} {type_name!r} is provided by {owners}",
                hint=_CHOOSE,
            )
        if len(candidates) > 1:
            raise PluginError(f"{candidates[0].owner} has two entry points named {candidates[0].name!r}")
        return candidates[0]

    def _unknown(self, kind: Kind, type_name: str) -> PluginError:
        stem = type_name.partition(".")[0]
        known = KNOWN_TYPES.get(kind, {})
        distribution = known.get(type_name) or known.get(stem)
        if distribution is not None:
            if is_shut_out(distribution):
                return UnknownTypeError(
                    f"{kind} {type_name!r} is shut out by STRONGROOM_PLUGINS",
                    hint=f"add {distribution} to it",
                )
            hint = f"pip install {distribution}"
            if getattr(sys, "frozen", False):
                hint = f"it is not in this packed program: {hint} where it is built, with its metadata"
            return UnknownTypeError(f"{kind} {type_name!r} is not installed", hint=hint)
        shut_out = sorted(one.distribution for one in self._entries or () if one.name in {type_name, stem})
        if shut_out:  # else `_candidates` had found it
            return UnknownTypeError(
                f"{kind} {type_name!r} is shut out by STRONGROOM_PLUGINS", hint=f"add {shut_out[0]} to it"
            )
        here = sorted(self._named_here(kind))
        kinds = [other for other, names in KNOWN_TYPES.items() if type_name in names]
        return UnknownTypeError(
            f"unknown {kind} {type_name!r}",
            hint=_place_of(type_name, kinds)
            or did_you_mean(type_name, here, f"known here: {', '.join(here)}"),
        )

    def _named_here(self, kind: Kind) -> set[str]:
        """Return the type names to suggest: core's and the known ones, and the entry points of third parties.

        The kinds of a third party's components are not looked at: a wrong name must not import plugins.
        """
        here = set(KNOWN_TYPES.get(kind, ()))
        ours = {name.partition(".")[0] for known in KNOWN_TYPES.values() for name in known}
        for entry in self._all_entries():
            if entry.distribution == CORE:
                here |= self._names_in(entry, kind)
            elif entry.name not in ours:
                here.add(entry.name)
        return here

    def _names_in(self, entry: EntryPoint, kind: Kind) -> set[str]:
        """Return the type names of a kind in the module of `entry`; none if it is broken."""
        loaded = self._load(entry)
        return {name for one, name in loaded if one == kind} if isinstance(loaded, dict) else set()

    def _load(self, entry: EntryPoint) -> dict[tuple[Kind, str], Plugin] | str:
        """Return the components of `entry`'s module, or what is wrong with it."""
        if entry not in self._loaded:
            try:
                self._loaded[entry] = self._components(entry)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # a panic of an extension in Rust is not an Exception
                if isinstance(error, OSError | MemoryError):
                    return describe_error(error)  # not kept, as it may pass: too many files were open
                self._loaded[entry] = describe_error(error)
        return self._loaded[entry]

    def _components(self, entry: EntryPoint) -> dict[tuple[Kind, str], Plugin]:
        from pydantic import BaseModel

        start_pydantic()
        module = importlib.import_module(entry.module)
        components: dict[tuple[Kind, str], Plugin] = {}
        bad: list[tuple[Kind, str, str]] = []
        for kind, plugin in self._descriptors(module):
            if not isinstance(plugin, Plugin):
                message = f"{KINDS[kind]}() gave a {type(plugin).__name__}, expected strongroom.Plugin"
                raise TypeError(message)
            if not (isinstance(plugin.config, type) and issubclass(plugin.config, BaseModel)):
                bad.append((kind, plugin.name, "its config is not a pydantic model"))
            elif "type" in plugin.config.model_fields:
                why = "its config has a field 'type', which names the component itself in a spec"
                bad.append((kind, plugin.name, why))
            elif (kind, plugin.name) in components:
                bad.append((kind, plugin.name, f"{KINDS[kind]}() gives it twice"))
                del components[kind, plugin.name]
            elif entry.distribution != CORE and not (
                plugin.name == entry.name or plugin.name.startswith(f"{entry.name}.")
            ):
                why = f"its name must be {entry.name!r} or begin with it and a dot, as its entry point's"
                bad.append((kind, plugin.name, why))
            else:
                components[kind, plugin.name] = plugin
        self._bad_names[entry] = bad
        return components

    def _descriptors(self, module: Any) -> Iterator[tuple[Kind, Plugin]]:
        import pluggy

        from strongroom.plugins import hookspecs

        if self._manager is None:
            self._manager = pluggy.PluginManager(GROUP)
            self._manager.add_hookspecs(hookspecs)
        manager = self._manager
        # Several entry points may name one module.
        if not manager.is_registered(module):
            manager.register(module)
            try:
                self._refuse_unknown_hooks(manager, module)
            except PluginError:
                manager.unregister(module)
                raise
        for hook_name in dict.fromkeys(KINDS.values()):
            kind = next(one for one, name in KINDS.items() if name == hook_name)
            # Each implementation is called by itself: in a pluggy call one that raises stops its siblings.
            for implementation in getattr(manager.hook, hook_name).get_hookimpls():
                if implementation.plugin is module:
                    for plugin in implementation.function():
                        yield _kind_of(plugin, kind), plugin

    @staticmethod
    def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: Any) -> None:
        callers = manager.get_hookcallers(module) or []
        unknown = [caller.name for caller in callers if caller.spec is None]
        if unknown:
            raise PluginError(
                f"{module.__name__} implements the unknown hook {unknown[0]!r}",
                hint=did_you_mean(unknown[0], KINDS.values(), otherwise="") or None,
            )


def _place_of(type_name: str, kinds: Sequence[str]) -> str | None:
    """Return what a component of another kind is, and where it belongs; None if no kind has the name."""
    uses = [f"{what}, for {place}" for what, place in (_PLACES[kind] for kind in sorted(kinds))]
    return f"{type_name!r} is {', or '.join(uses)}" if uses else None


def _kind_of(plugin: object, hooked: Kind) -> Kind:
    """Return the kind of a descriptor that came from the hook for the kind `hooked`."""
    if isinstance(plugin, CachePlugin):
        return "cache"
    return "rotator" if isinstance(plugin, RotatorPlugin) else hooked


finder: PluginFinder = PluginFinder()
"""The finder of this process. Plugins installed later are seen by a new process."""
