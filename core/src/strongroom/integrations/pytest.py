"""A plugin for pytest: a registry in memory, and tests that fail when they print one of its values.

It is installed with strongroom. For tests without its fixtures it does nothing, except that it does not
collect tests of a conformance kit that do not apply to the provider.

    @pytest.mark.strongroom(values={"database/password": "correct horse"})
    def test_login(strongroom_registry): ...

A test fails if a value that it stored or read is in its captured output or log, plain or in an
encoding that masking knows; the report shows the output with the value masked. Values of fewer than 4
characters are not looked for, and with `-s` there is no captured output to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import warnings

    from strongroom.masking import Masker
    from strongroom.registry import SecretProviderRegistry

__all__ = ["strongroom_registry", "strongroom_watch"]

MARKER = "strongroom(spec=…, values=…, allow_output=False): what the fixture strongroom_registry is made with"
IN_MEMORY: Mapping[str, Any] = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
_OPTIONS = ("spec", "values", "allow_output")
_masker: pytest.StashKey[Masker] = pytest.StashKey()
_reported: pytest.StashKey[int] = pytest.StashKey()
_of_running_tests: dict[str, Masker] = {}
"""By the test's id, since a report has nothing else of its test."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[pytest.Item] | None:
    # Only tests of the conformance kits have such conditions; this module loads none of them.
    if not isinstance(collector, pytest.Class) or not isinstance(getattr(obj, "conditions", None), tuple):
        return None
    from strongroom.testing.conformance.base import why_not_asked

    return [] if why_not_asked(collector.obj, obj) else None


@pytest.fixture
def strongroom_watch(request: pytest.FixtureRequest) -> Generator[Callable[[Any], None]]:
    """Yield a function that makes the test fail if a value that a registry has read is printed."""
    from strongroom.masking import Masker

    masker = Masker()
    if not _options(request.node).get("allow_output", False):
        request.node.stash[_masker] = masker
        _of_running_tests[request.node.nodeid] = masker

    add = _adder(masker)
    with ExitStack() as watched:

        def watch(registry: Any) -> None:
            registry = getattr(registry, "registry", registry)  # of `strongroom.aio`
            registry.observe_values(add)
            # It may outlive the test, and would keep this masker, and tell it of the values of later tests.
            watched.callback(registry.stop_observing_values, add)

        yield watch


@pytest.fixture
def strongroom_registry(
    request: pytest.FixtureRequest, strongroom_watch: Callable[[Any], None]
) -> Generator[SecretProviderRegistry]:
    """Yield a registry in memory, or of the marker's `spec`, that holds the marker's `values`."""
    options = _options(request.node)
    registry_class = _watched(request.node.stash.get(_masker, None))
    with registry_class(options.get("spec", IN_MEMORY)) as registry:
        strongroom_watch(registry)
        for key, value in options.get("values", {}).items():
            registry.set_secret(key, value)
        yield registry


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    masker = item.stash.get(_masker, None)
    if masker:
        _look(item, report, masker)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    """Mask what a test warned of, which the summary at the end shows."""
    masker = _of_running_tests.get(nodeid)
    if masker:
        text = str(warning_message.message)
        clean = masker.mask_text(text)
        if clean != text:
            warning_message.message = clean


@pytest.hookimpl(wrapper=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Generator[None, None, None]:
    """Look at the reports of subtests, to which pytest adds captured output after it has made them."""
    masker = _of_running_tests.get(report.nodeid)
    if masker:
        leaks = _mask_report(report, masker)
        if leaks:
            _fail(report, leaks)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Forget the masker of a test after its warnings, which come last."""
    try:
        return (yield)
    finally:
        _of_running_tests.pop(item.nodeid, None)


def _look(item: pytest.Item, report: pytest.TestReport, masker: Masker) -> None:
    leaks = _mask_report(report, masker)
    seen = item.stash.get(_reported, 0)  # a later phase's report has the sections of the earlier ones
    if len(leaks) > seen:
        item.stash[_reported] = len(leaks)
        _fail(report, leaks[seen:])


def _mask_report(report: pytest.TestReport, masker: Masker) -> list[str]:
    """Mask everything that a report shows; return the names of captured sections that had a value."""
    from strongroom.masking import mask

    masked = [(name, masker.mask_text(text)) for name, text in report.sections]
    leaks = [name for (name, text), (_, clean) in zip(report.sections, masked, strict=True) if text != clean]
    report.sections[:] = masked
    report.longrepr = _masked_reason(report.longrepr, masker)
    report.user_properties[:] = mask(report.user_properties, masker=masker)
    if hasattr(report, "wasxfail"):
        report.wasxfail = masker.mask_text(report.wasxfail)
    context = getattr(report, "context", None)
    if is_dataclass(context):  # what a subtest was begun with
        shown = copy(context)  # not `replace`, which would have pytest quote it again
        for one in fields(context):
            object.__setattr__(shown, one.name, mask(getattr(context, one.name), masker=masker))
        report.context = shown  # type: ignore[attr-defined]  # of a subtest's report
    return leaks


def _fail(report: pytest.TestReport, leaks: Sequence[str]) -> None:
    said = f"a secret's value is in: {', '.join(leaks)} (masked below)"
    report.longrepr = f"{report.longrepr}\n\n{said}" if report.failed else said
    report.outcome = "failed"
    if hasattr(report, "wasxfail"):
        del report.wasxfail  # with it, a JUnit file would have the failure as a skipped test


def _masked_reason(reason: Any, masker: Masker) -> Any:
    """Return a report's `longrepr`, masked: an assertion shows what it compared."""
    if isinstance(reason, tuple):  # of a skipped test: file, line and reason, as other plugins expect
        from strongroom.masking import mask

        return mask(reason, masker=masker)
    if reason is None:
        return None
    text = str(reason)
    clean = masker.mask_text(text)
    return reason if clean == text else clean


def _options(item: Any) -> Mapping[str, Any]:
    """Return the options of all markers of a test: the closest counts, and `values` are joined."""
    options: dict[str, Any] = {}
    for marker in reversed([*item.iter_markers("strongroom")]):
        unknown = sorted(marker.kwargs.keys() - _OPTIONS)
        if unknown or marker.args:
            raise pytest.UsageError(
                f"the marker strongroom takes {', '.join(_OPTIONS)}, by name; "
                f"not {', '.join(unknown) or 'something without a name'}"
            )
        values = {**options.get("values", {}), **marker.kwargs.get("values", {})}
        options |= {**marker.kwargs, "values": values}
    return options


def _adder(masker: Masker) -> Callable[[str], None]:
    from strongroom.masking.parts import parts

    def add(value: str) -> None:
        if isinstance(value, str):  # the registry refuses anything else
            for text in (value, *parts(value)):
                masker.add(text)

    return add


def _watched(masker: Masker | None) -> type[SecretProviderRegistry]:
    """Return a class of registry whose writes add their values to `masker`."""
    from strongroom.registry import SecretProviderRegistry

    if masker is None:
        return SecretProviderRegistry
    add = _adder(masker)

    class Watched(SecretProviderRegistry):
        def set_secret(self, key: str, value: str) -> None:
            add(value)
            super().set_secret(key, value)

        def set_secrets(self, values: Mapping[str, str]) -> None:
            _add_all(add, values.values())
            super().set_secrets(values)

        def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
            add(value)
            return super().set_secret_if(key, value, expected_version)

        def stage_secret(self, key: str, value: str) -> str:
            add(value)
            return super().stage_secret(key, value)

    Watched.__name__ = Watched.__qualname__ = SecretProviderRegistry.__name__
    return Watched


def _add_all(add: Callable[[str], None], values: Iterable[str]) -> None:
    for value in values:
        add(value)
