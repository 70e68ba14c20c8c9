"""Which stored secret is meant: addresses of providers and of the layers in front of them.

Two texts follow from a chain of middleware and a provider:

- its *address*: everything that decides which secret a key means. Names in a shared store contain it;
- its *sources* for a key, one for each provider that may answer: the provider's place, and the key there.
  A write drops what any pipeline has read from the same source.

For known components of a spec, the table `DECIDES` says which options decide; objects made in Python say it
by their own `address()`. For a component that is not known, every option counts.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.providers.base import has_capability
from strongroom.runtime import digests
from strongroom.runtime.frozen import NamedTuple
from strongroom.spec.plan import Part

__all__ = [
    "DECIDES",
    "Source",
    "account_of",
    "address_of",
    "as_place",
    "caches_of",
    "component_address",
    "invalidate",
    "issues_leases",
    "part_without_address",
    "place_of",
    "places_of",
    "sources_of",
    "stored_at",
    "type_of",
]

DECIDES: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("provider", "memory"): frozenset(),  # and the pipeline that it belongs to
    ("provider", "env"): frozenset({"prefix"}),
    ("provider", "file"): frozenset({"file_path"}),
    ("provider", "vault"): frozenset({"url", "namespace", "mount_point", "field"}),
    ("provider", "aws"): frozenset(),  # and the account, region and address that it resolves to
    ("provider", "aws.parameters"): frozenset(),  # as above
    ("provider", "gcp"): frozenset({"project_id", "location", "client_options"}),
    ("provider", "azure"): frozenset({"vault_url"}),
    ("provider", "keyring"): frozenset({"service", "backend"}),
    ("provider", "etcd"): frozenset({"endpoints", "prefix"}),
    ("provider", "postgresql"): frozenset({"url", "schema"}),
    ("provider", "vault.leases"): frozenset({"url", "namespace", "mount_point", "path", "parameters"}),
    ("provider", "aws.sts"): frozenset({"roles"}),  # and the account that it resolves to
    ("middleware", "prefix"): frozenset({"prefix"}),
    ("middleware", "tenant"): frozenset({"template"}),
    ("middleware", "encryption"): frozenset({"cipher"}),
    ("middleware", "caching"): frozenset(),
    ("middleware", "read-only"): frozenset(),
    ("middleware", "retry"): frozenset(),
    ("middleware", "validation"): frozenset(),
    ("encryption", "aes-gcm"): frozenset(),
    ("encryption", "chacha20"): frozenset(),
    ("encryption", "fernet"): frozenset(),
    ("encryption", "vault.transit"): frozenset(),
}
"""The options that decide which secret is meant, of each known component; no other option of these counts."""

_TRANSPARENT: Final = frozenset({"caching", "read-only", "retry", "validation"})
"""Middleware that changes neither keys nor values: with it and without it the same is read."""
_PARTS: Final = frozenset({"field", "program", "whole"})
"""Options that choose a part of a stored secret, or what opens it: a write of one part changes the whole."""
_WITHOUT_SLASH: Final = frozenset({"url", "vault_url", "mount_point", "namespace"})
_PORTS: Final = {"http": ":80", "https": ":443"}
_ETCD_PORTS: Final = {"http": ":2379", "https": ":2379"}
_IN_QUERY: Final = frozenset({"dbname", "host", "hostaddr", "port"})
"""The parameters in a URL of PostgreSQL that decide which database is meant."""


_numbers = itertools.count()
_objects: dict[int, tuple[Any, str]] = {}


class Source(NamedTuple):
    """Where a value is stored: the provider's place, and the key there."""

    place: str
    key: str


def component_address(
    kind: str,
    type_name: str,
    options: Mapping[str, Any],
    public: Iterable[str] = (),
    *,
    decides: frozenset[str] | None = None,
) -> list[Any] | None:
    """Return what a component of a spec adds to an address; None where it adds nothing.

    Args:
        kind: `provider`, `middleware` or `encryption`.
        type_name: Its type.
        options: All of its options, paths made whole.
        public: The names of those that are not secrets; the others are hashed.
        decides: The names of those that decide, if its plugin says so itself.
    """
    if kind == "middleware" and type_name in _TRANSPARENT:
        return None
    known = DECIDES.get((kind, type_name)) if decides is None else decides
    chosen = options if known is None else {name: options.get(name) for name in known}
    shown = set(chosen) if known is not None else set(public)
    return [kind, type_name, _canonical(type_name, chosen, lambda name: name not in shown)]


def place_of(provider: Any) -> str:
    """Return the text that is equal for providers that keep their secrets in the same place."""
    place = getattr(provider, "_place", None)
    if isinstance(place, str):
        return place
    own = _own_address(provider)
    return _place_of_object(provider) if own is None else as_place(["provider", *own])


def _place_of_object(thing: Any) -> str:
    """Return a text for an object of this process, which, unlike its `id`, no later object gets."""
    thing = getattr(thing, "wrapped", thing)
    known = _objects.get(id(thing))
    if known is None:
        at = id(thing)
        try:
            held: Any = weakref.ref(thing, lambda _: _objects.pop(at, None))
        except TypeError:
            held = thing  # one that cannot be referred to weakly is kept
        # Two threads at once get one text: `setdefault` keeps the first.
        known = _objects.setdefault(at, (held, f"object {next(_numbers)}"))
    return known[1]


def as_place(address: list[Any]) -> str:
    """Return the place of a provider's address, without what chooses a part of a secret."""
    kind, type_name, options = address
    return _text([kind, type_name, [one for one in options if one[0] not in _PARTS]])


def stored_at(chain: Any, key: str) -> Source | None:
    """Return where a write of `key` through `chain` goes; None if the active tenant cannot have such a key.

    Unlike in `sources_of`, a provider without an address is a place of its own, as a memory is.
    """
    for node, stored in _stored_names(chain, key, written=True):
        own = _own_address(node)
        return Source(_place_of_object(node) if own is None else as_place(["provider", *own]), stored)
    return None


def places_of(chain: Any, *, written: bool = False) -> frozenset[str]:
    """Return the places that are read through `chain`; with `written`, the one that writes go to."""
    return frozenset(place_of(provider) for provider in _providers(chain, written=written))


def issues_leases(chain: Any, *, written: bool = False) -> bool:
    """Return whether one of the providers that are read through `chain` issues leases.

    With `written`, whether the one does that writes go to.
    """
    return any(has_capability(one, "LeaseProvider") for one in _providers(chain, written=written))


def type_of(place: str) -> str | None:
    """Return the type of the provider at `place`, None where it is an object made in Python without one."""
    return str(json.loads(place)[1]) if place.startswith("[") else None


def sources_of(chain: Any, key: str, *, written: bool = False) -> list[Source]:
    """Return where `key` is read from through `chain`; with `written`, where a write of it goes.

    It is empty where the active tenant, or none, cannot have such a key.
    """
    return [Source(place_of(node), stored) for node, stored in _stored_names(chain, key, written=written)]


def _stored_names(chain: Any, key: str, *, written: bool) -> list[tuple[Any, str]]:
    """Return the providers that `sources_of` means, each with its name of `key`."""
    node = chain
    while True:
        members = getattr(node, "members", None)
        if members is not None:
            chosen = members[:1] if written else members
            return [one for member in chosen for one in _stored_names(member, key, written=written)]
        stored = getattr(node, "stored", None)
        if callable(stored) and hasattr(node, "inner"):
            try:
                key = stored(key)
            except StrongroomError:
                return []
        if not hasattr(node, "inner"):
            return [(node, key)]
        node = node.inner


def caches_of(chain: Any, *, written: bool = False) -> Iterator[Any]:
    """Yield the caches in `chain`; with `written`, those on the way of a write alone.

    The innermost comes first. If they forget in this order, none is filled from one that has not forgotten.
    """
    around: list[Any] = []
    node = chain
    while node is not None:
        members = getattr(node, "members", None)
        if members is not None:
            for member in members[:1] if written else members:
                yield from caches_of(member, written=written)
            break
        if hasattr(node, "drop") and hasattr(node, "cache"):
            around.append(node)
        node = getattr(node, "inner", None)
    yield from reversed(around)


def invalidate(chain: Any, key: str) -> None:
    """Let every cache in `chain` forget `key` of the active tenant, by whatever name it knows it there.

    The innermost is the first; see `caches_of`.
    """
    around: list[tuple[Any, str]] = []
    node = chain
    while node is not None:
        members = getattr(node, "members", None)
        if members is not None:
            for member in members:
                invalidate(member, key)
            break
        if hasattr(node, "drop") and hasattr(node, "cache"):
            around.append((node, key))
        stored = getattr(node, "stored", None)
        node = getattr(node, "inner", None)
        if callable(stored) and node is not None:
            key = stored(key)
    for cache, known_as in reversed(around):
        cache.invalidate(known_as)


def address_of(chain: Any, *, here: bool = False) -> str | None:
    """Return the address of a chain made in Python; None if a part of it has none.

    With `here`, such a part is identified by its object: for what is shared in this process alone.
    """
    found = _address_of(chain, here=here)
    return None if found is None else _text(found)


def account_of(chain: Any) -> Callable[[], str] | None:
    """Return a function that asks each provider for the account of its credentials; None if none can say.

    It may do I/O, and raise.
    """
    methods = (getattr(getattr(one, "wrapped", one), "account", None) for one in _providers(chain))
    asking = [ask for ask in methods if callable(ask)]
    return partial(_accounts, asking) if asking else None


def _accounts(asking: list[Callable[[], str]]) -> str:
    return _text([ask() for ask in asking])


def part_without_address(chain: Any) -> Any:
    """Return the first part of a chain that has no address, None if all have one."""
    for member in getattr(chain, "members", ()):
        found = part_without_address(member)
        if found is not None:
            return found
    if hasattr(chain, "members"):
        return None
    if _own_address(chain) is None:
        return getattr(chain, "wrapped", chain)
    return part_without_address(chain.inner) if hasattr(chain, "inner") else None


def _providers(chain: Any, *, written: bool = False) -> Iterator[Any]:
    node = chain
    while True:
        members = getattr(node, "members", None)
        if members is not None:
            for member in members[:1] if written else members:
                yield from _providers(member, written=written)
            return
        if not hasattr(node, "inner"):
            yield node
            return
        node = node.inner


def _address_of(node: Any, *, here: bool) -> list[Any] | None:
    parts: list[Any] = []
    while True:
        members = getattr(node, "members", None)
        if members is not None:
            inside = [_address_of(member, here=here) for member in members]
            if None in inside:
                return None
            return [*parts, ["fallback", sorted(node.when), inside]]
        own = _own_address(node)
        if own is None and here:
            own = [_place_of_object(node)]
        if not hasattr(node, "inner"):
            return None if own is None else [*parts, ["provider", *own]]
        if own is None:
            return None
        if own[0]:  # else it changes neither keys nor values
            parts.append(["middleware", *own])
        node = node.inner


def _own_address(component: Any) -> list[Any] | None:
    """Return the type and deciding options that the object itself gives, None if it gives none."""
    component = getattr(component, "wrapped", component)
    method = getattr(component, "address", None)
    address = method() if callable(method) else None
    if not isinstance(address, Mapping):
        return None
    type_name = getattr(component, "type_name", "") or ""
    return [type_name, _canonical(type_name, address, lambda _: False)]


def _canonical(type_name: str, options: Mapping[str, Any], hidden: Callable[[str], bool]) -> list[list[Any]]:
    """Return options sorted by name, without those that are None: they were not given."""
    canonical = []
    for name in sorted(options):
        value = _plain(options[name])
        if name in _WITHOUT_SLASH and isinstance(value, str):
            value = _place_in_url(value).strip("/") or None
        elif name == "endpoints" and type_name == "etcd" and value:
            # The members of one cluster, in any order.
            members = value if isinstance(value, list) else [value]
            value = sorted({_place_in_url(str(one), _ETCD_PORTS).strip("/") for one in members})
        elif name == "endpoints" and isinstance(value, list):
            value = [_place_in_url(one) if isinstance(one, str) else one for one in value]
        if value not in (None, {}, []):
            canonical.append([name, _hashed(value) if hidden(name) else value])
    return canonical


def _place_in_url(url: str, ports: Mapping[str, str] = _PORTS) -> str:
    """Return a URL in one spelling of its host, whose case and usual port decide nothing.

    One of PostgreSQL is without its login, except for the name of the database that follows from it, and
    without what says only how to connect.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme in ports:
        host = re.match(r"[^/?#]*", rest)[0]  # type: ignore[index]  # it always matches
        return f"{scheme}://{host.lower().removesuffix(ports[scheme])}{rest[len(host) :]}"
    if not scheme.startswith("postgres"):
        return url
    rest, _, query = rest.partition("?")
    named = {one.partition("=")[0]: one for one in query.split("&")}
    parameters = sorted(one for name, one in named.items() if name in _IN_QUERY)
    login, _, rest = rest.rpartition("@")
    hosts, _, database = rest.partition("/")
    if not database and "dbname" not in named:  # that of the user's name, as libpq has it
        database = named.get("user", "").removeprefix("user=") or login.partition(":")[0]
    # One with a % is the folder of a socket, whose case counts. A port is left: without one, PGPORT decides.
    members = ",".join(one if "%" in one else one.lower() for one in hosts.split(","))
    return f"postgresql://{members}/{database}" + ("?" + "&".join(parameters) if parameters else "")


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return component_address("encryption", value.type, value.options, value.public, decides=value.decides)
    if isinstance(value, os.PathLike):
        from strongroom.paths.user_home import expanded_text

        return os.path.abspath(expanded_text(value))  # noqa: PTH100  # `resolve` asks the disk
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(_text(_plain(one)) for one in value)
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _hashed(value: Any) -> str:
    return digests.sha256(_text(value).encode(errors="surrogatepass")).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
