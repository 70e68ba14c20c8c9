"""The conformance kit once more, with middleware between it and a provider.

```python
from strongroom.testing import BehindMiddleware


class TestAcmeBehindMiddleware(BehindMiddleware, kit=TestAcme): ...
```

Its members, such as `TestAcmeBehindPrefix`, are the author's own kit, on the author's own fixtures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pytest

from strongroom.encryption.ciphers import AESGCMEncryption
from strongroom.encryption.keys import generate_key
from strongroom.middleware import (
    CachingMiddleware,
    EncryptionMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    TenantMiddleware,
    ValidationMiddleware,
)
from strongroom.middleware.tenant import DEFAULT_TEMPLATE
from strongroom.testing.conformance import ProviderConformance
from strongroom.testing.conformance.base import why_not_asked
from strongroom.testing.sampling import count_of_parameters, mark_beyond, names_of_tests, seed_of

__all__ = ["CHAIN", "BehindMiddleware", "behind", "behind_each"]

_PREFIX: Final = "some/prefix/"
_TENANT: Final = "acme"


class _OfOneTenant(TenantMiddleware):
    """As under a tenant in every thread, for the kit's threads begin without one."""

    def tenant(self) -> str:
        return _TENANT


@dataclass(frozen=True)
class _Layer:
    """A middleware, and what it leaves of what a backend can hold."""

    wrap: Callable[[Any], Any]
    longer_keys: int = 0
    """Characters that it adds to each key."""
    tokens: bool = False
    """Whether the backend gets tokens instead of values."""
    remembers: bool = False
    """Whether reads may be older than what others wrote meanwhile."""


_CIPHER: Final = AESGCMEncryption(generate_key())
_LAYERS: Final[Mapping[str, _Layer]] = {
    "caching": _Layer(CachingMiddleware, remembers=True),
    "retry": _Layer(lambda inner: RetryMiddleware(inner, attempts=2, base_seconds=0)),
    "validation": _Layer(lambda inner: ValidationMiddleware(inner, max_length=1 << 24, forbid=["changeme"])),
    "tenant": _Layer(_OfOneTenant, len(DEFAULT_TEMPLATE.format(tenant=_TENANT, key=""))),
    "prefix": _Layer(lambda inner: PrefixMiddleware(inner, _PREFIX), len(_PREFIX)),
    "encryption": _Layer(lambda inner: EncryptionMiddleware(inner, _CIPHER), tokens=True),
}

CHAIN: Final[tuple[str, ...]] = tuple(_LAYERS)
"""The middleware that the kit is run behind, outermost first: as types of the spec."""


def behind(kit: type[ProviderConformance], *middleware: str) -> type[ProviderConformance]:
    """Return `kit` with `middleware` around what its fixtures `provider` and `reopened` give.

    Args:
        kit: A subclass of `ProviderConformance` with a fixture `provider`.
        middleware: Names from `CHAIN`, outermost first; without any, the whole chain.

    Raises:
        ValueError: A name is not in `CHAIN`.
    """
    middleware = middleware or CHAIN
    unknown = [name for name in middleware if name not in _LAYERS]
    if unknown:
        raise ValueError(f"no middleware of the kit: {', '.join(unknown)} (there are {', '.join(CHAIN)})")
    layers = [_LAYERS[name] for name in middleware]

    def wrapped(inner: Any) -> Any:
        for layer in reversed(layers):
            inner = layer.wrap(inner)
        return inner

    def provider(_self: Any, bare_provider: Any) -> Iterator[Any]:
        yield from _closing(wrapped(bare_provider))

    def reopened(_self: Any, bare_reopened: Any) -> Iterator[Any]:
        yield from _closing(None if bare_reopened is None else wrapped(bare_reopened))

    second = inspect.getattr_static(kit, "reopened")
    no_second = inspect.getattr_static(ProviderConformance, "reopened")
    if any(layer.remembers for layer in layers):
        second = no_second
    longer = sum(layer.longer_keys for layer in layers)
    namespace: dict[str, Any] = {
        "__doc__": f"`{kit.__name__}` behind {', '.join(middleware)}.",
        "__module__": kit.__module__,
        "bare_provider": inspect.getattr_static(kit, "provider"),
        "bare_reopened": second,
        "provider": pytest.fixture(provider),
        "reopened": no_second if second is no_second else pytest.fixture(reopened),
        "max_key_characters": kit.max_key_characters - longer,
        # How the provider itself is imported and made does not change with the layers before it.
        "sdk_modules": (),
        "sdk_loggers": (*kit.sdk_modules, *kit.sdk_loggers),
        "construction": "",
    }
    if any(layer.tokens for layer in layers):
        namespace["not_representable"] = ()
        namespace["max_value_bytes"] = _room(kit.max_value_bytes)
    return type(f"{kit.__name__}Behind{_title(middleware)}", (kit,), namespace)


def behind_each(
    kit: type[ProviderConformance],
    *,
    beyond_sample: Iterable[pytest.MarkDecorator] = (),
    each_middleware: bool = False,
    one_in: int = 1,
) -> dict[str, type[ProviderConformance]]:
    """Return `kit` behind each middleware alone and behind all of them, by the names of the classes.

    `BehindMiddleware` has them as its members, where pytest finds them.

    Args:
        kit: See `behind`.
        beyond_sample: Marks for all tests except a sample, for a backend that is too slow to run them every
            time. Each test is in the sample once, as its name decides: behind one middleware or all, and with
            one of its parameters. The names of the others end in `_beyond`.
        each_middleware: Put each test into the sample behind each middleware, and with each of its
            parameters, at least once.
        one_in: Put only one in so many tests into the sample, if other kits have the others; behind each
            middleware at least one.
    """
    kits = [behind(kit), *(behind(kit, name) for name in CHAIN)]
    marks = tuple(beyond_sample)
    samples: dict[type, dict[str, set[int]]] = {one: {} for one in kits}
    for name in names_of_tests(kit) if marks else ():
        asking = [one for one in kits if not why_not_asked(one, getattr(one, name))]
        count = count_of_parameters(getattr(kit, name))
        seed, left_out = divmod(seed_of(kit, name), one_in)
        rounds = 0 if left_out or not asking else max(len(asking), count) if each_middleware else 1
        for one in asking:
            samples[one][name] = set()
        for turn in range(rounds):
            one = asking[(seed + turn) % len(asking)]
            samples[one][name].add((seed // len(asking) + turn) % count)
    for kind, sample in samples.items():
        if sample and not any(sample.values()):
            name = min(sample, key=lambda test: seed_of(kind, test))
            sample[name] = {seed_of(kind, name) % count_of_parameters(getattr(kit, name))}
        for name, values in sample.items():
            mark_beyond(kind, name, values, marks)
    return {one.__name__: one for one in kits}


class BehindMiddleware:
    """The base of a test class whose members are a kit behind each middleware alone, and behind all of them.

    The keywords of the class are the arguments of `behind_each`.

    Attributes:
        kits: The members.
    """

    kits: ClassVar[tuple[type[ProviderConformance], ...]] = ()

    def __init_subclass__(
        cls,
        *,
        kit: type[ProviderConformance],
        beyond_sample: Iterable[pytest.MarkDecorator] = (),
        each_middleware: bool = False,
        one_in: int = 1,
    ) -> None:
        super().__init_subclass__()
        members = behind_each(
            kit, beyond_sample=beyond_sample, each_middleware=each_middleware, one_in=one_in
        )
        for name, member in members.items():
            setattr(cls, name, member)
        cls.kits = tuple(members.values())


def _closing(provider: Any) -> Iterator[Any]:
    if provider is None:
        yield None
        return
    with provider:
        yield provider


def _title(middleware: tuple[str, ...]) -> str:
    return "All" if middleware == CHAIN else "".join(name.title() for name in middleware)


def _room(limit: int | None) -> int | None:
    """Return how many bytes a value may have whose token has no more than `limit`."""
    if limit is None:
        return None
    fits, too_many = 0, limit + 1
    while too_many - fits > 1:
        size = (fits + too_many) // 2
        if len(_CIPHER.encrypt("x" * size)) <= limit:
            fits = size
        else:
            too_many = size
    return fits
