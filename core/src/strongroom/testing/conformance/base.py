"""What all parts of the kit share: its options, and how a test is left out where it does not apply."""

from __future__ import annotations

import functools
import inspect
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import pytest

from strongroom.errors import UnsupportedOperationError

__all__ = [
    "OTHER",
    "SECRET",
    "ConformanceBase",
    "assert_harmless",
    "needs",
    "needs_count",
    "needs_limit",
    "needs_second",
    "only_where",
    "why_not_asked",
]

# Tests use these names, so that the source lines of a traceback do not hold the values that they look for.
SECRET = "hunter2-correct-horse"
OTHER = "swordfish-battery-staple"

Test = TypeVar("Test", bound=Callable[..., Any])


def only_where(why_not: Callable[[type[ConformanceBase]], str | None]) -> Callable[[Test], Test]:
    """Run a test only with kits for which `why_not` returns None, and not a reason.

    strongroom's plugin for pytest does not even collect the others; without it they are skipped.
    """

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(self: ConformanceBase, *args: Any, **kwargs: Any) -> None:
            reason = why_not(type(self))
            if reason is not None:
                pytest.skip(reason)
            test(self, *args, **kwargs)

        run.conditions = (*getattr(test, "conditions", ()), why_not)  # type: ignore[attr-defined]  # of ours
        return run  # type: ignore[return-value]  # functools.wraps keeps the signature that pytest looks at

    return decorate


def why_not_asked(kit: type[ConformanceBase], test: object) -> list[str]:
    """Return the reasons why one of its tests does not apply to `kit`."""
    conditions: tuple[Callable[[type[ConformanceBase]], str | None], ...] = getattr(test, "conditions", ())
    return [reason for why_not in conditions if (reason := why_not(kit)) is not None]


def needs(*protocols: type) -> Callable[[Test], Test]:
    """Run a test only with providers that have all of `protocols`, and whose server offers them."""

    def lacks(kit: type[ConformanceBase]) -> str | None:
        made = kit.provider_class
        return None if made is None else _lacking(protocols, lambda protocol: issubclass(made, protocol))

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(self: ConformanceBase, provider: Any, *args: Any, **kwargs: Any) -> None:
            reason = _lacking(protocols, lambda protocol: isinstance(provider, protocol))
            if reason is not None:
                pytest.skip(reason)
            try:
                test(self, provider, *args, **kwargs)
            except UnsupportedOperationError as error:
                unsupported = str(error)
            else:
                return
            pytest.skip(f"not offered by the server behind the provider: {unsupported}")

        return only_where(lacks)(run)  # type: ignore[return-value]  # as above

    return decorate


def _lacking(protocols: Iterable[type], has: Callable[[type], bool]) -> str | None:
    return next((f"the provider is not a {one.__name__}" for one in protocols if not has(one)), None)


def _unlimited(kit: type[ConformanceBase]) -> str | None:
    return (
        "the backend has no limit to be tested: max_value_bytes is None"
        if kit.max_value_bytes is None
        else None
    )


def _alone(kit: type[ConformanceBase]) -> str | None:
    return _not_overridden(kit, "reopened", "no second provider on the same backend")


def _uncounted(kit: type[ConformanceBase]) -> str | None:
    return _not_overridden(kit, "request_count", "nothing counts the requests")


def _not_overridden(kit: type[ConformanceBase], fixture: str, reason: str) -> str | None:
    own = inspect.getattr_static(kit, fixture) is not inspect.getattr_static(ConformanceBase, fixture)
    return None if own else f"{reason}: fixture {fixture!r} gives None"


needs_limit = only_where(_unlimited)
needs_second = only_where(_alone)
needs_count = only_where(_uncounted)


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [found for found in (current.__cause__, current.__context__) if found is not None]


def assert_harmless(error: BaseException, *values: str) -> None:
    """Assert that no text of `error`, or of its causes, holds one of `values`."""
    texts = ["".join(traceback.format_exception(error))]
    for found in _chain(error):
        notes = getattr(found, "__notes__", ())
        texts += [str(found), repr(found), repr(found.args), repr(vars(found)), *notes]
    for value in values:
        assert not any(value in text for text in texts), f"{type(error).__name__} holds a secret's value"


class ConformanceBase:
    """The options of the kit, for facts that no protocol has."""

    provider_class: ClassVar[type | None] = None
    """The class of the provider; if given, tests of capabilities that it lacks are not collected."""
    max_key_characters: ClassVar[int] = 512
    """The longest key; less if a middleware in front of the provider makes keys longer."""
    max_value_bytes: ClassVar[int | None] = None
    """The longest value of the backend, in bytes of UTF-8; None if it has no limit to test."""
    long_value_bytes: ClassVar[int] = 20_000
    """The length of a long value, for backends without a limit."""
    not_representable: ClassVar[tuple[str, ...]] = ()
    """Texts that no value can hold here, such as NUL in an environment variable."""
    hostile_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that are special to this backend, tried besides the kit's own."""
    hostile_values: ClassVar[tuple[str, ...]] = ()
    """Values that are special to this backend, tried besides the kit's own."""
    title: ClassVar[str] = ""
    """The name of this backend in tables of results; by default that of the class."""
    similar_keys: ClassVar[int | None] = None
    """How many of the kit's keys that are easily confused are tried, a different run of them for each kit;
    None for all. It is for services with slow requests, whose names have tests of their own."""
    listed_keys: ClassVar[int] = 125
    """How many keys a long list has: more than a page of the service."""
    thread_count: ClassVar[int] = 8
    """How many threads work at once."""
    reuses_version_ids: ClassVar[bool] = False
    """Whether the service counts from the start again when a deleted key is set."""
    survives_forks: ClassVar[bool | str] = True
    """Whether a provider that was used can be used in a forked child too; else the reason why not."""
    sdk_modules: ClassVar[tuple[str, ...]] = ()
    """Top-level modules that importing and constructing the provider must not load."""
    sdk_loggers: ClassVar[tuple[str, ...]] = ()
    """First parts of the names of further loggers of the SDK: what they log is its own affair."""
    construction: ClassVar[str] = ""
    """A line of Python that constructs a provider, run in a new process without any server."""

    @pytest.fixture
    def provider(self) -> Any:
        """Return a provider on an empty backend; every author overrides this."""
        message = f"{type(self).__name__} must override the fixture 'provider'"
        raise NotImplementedError(message)

    @pytest.fixture
    def reopened(self) -> Any:
        """Return a second provider on the same backend, or None if there cannot be one."""
        return None

    @pytest.fixture
    def request_count(self) -> Callable[[], int] | None:
        """Return a function that counts the requests to the backend, or None."""
        return None

    def settle(self) -> None:
        """Wait until reads see what was written, if the service is eventually consistent."""

    def put(self, provider: Any, values: Mapping[str, str]) -> None:
        """Write `values` one by one."""
        for key, value in values.items():
            provider.set_secret(key, value)
        self.settle()

    def remove(self, provider: Any, *keys: str) -> None:
        """Delete `keys` one by one."""
        for key in keys:
            provider.delete_secret(key)
        self.settle()

    def run_of(self, keys: Sequence[str]) -> list[str]:
        """Return as many of `keys` as the kit tries, neighbours together."""
        if self.similar_keys is None:
            return list(keys)
        first = zlib.crc32(type(self).__name__.encode()) % len(keys)
        return [*keys, *keys][first : first + min(self.similar_keys, len(keys))]

    def second(self, reopened: Any) -> Any:
        """Return the second provider, or skip the test."""
        if reopened is None:
            pytest.skip("no second provider on the same backend: fixture 'reopened' gives None")
        return reopened

    def refuses(self, value: str) -> bool:
        """Return whether the backend cannot hold `value`."""
        limit = self.max_value_bytes
        return any(text in value for text in self.not_representable) or (
            limit is not None and len(value.encode()) > limit
        )
