"""The conformance kit passes right providers, and catches each wrong one by the test meant for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    import wrong_providers
    from wrong_providers import WRONG
finally:
    sys.path.remove(str(HERE))

pytest_plugins = ["pytester"]

CASE = """
import pytest
from strongroom.testing import ProviderConformance
import wrong_providers

class Test{name}(ProviderConformance):
    max_value_bytes = {max_value_bytes}
    sdk_modules = {sdk_modules!r}
    construction = {construction!r}

    @pytest.fixture
    def provider(self):
        return wrong_providers.{name}()

    @pytest.fixture
    def reopened(self, provider):
        return wrong_providers.{name}() if {second_is_another} else provider

    @pytest.fixture
    def request_count(self, provider):
        return getattr(provider, "count", None)
"""
RIGHT = {
    "max_value_bytes": None,
    "sdk_modules": ("xmlrpc",),
    "construction": "from strongroom_memory import MemorySecretProvider; MemorySecretProvider()",
    "second_is_another": False,
}
# The plugins of the outer run are of no use in the inner ones, and cost a second each.
INNER = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
OPTIONS = ("-p", "no:cacheprovider", "-q", "-o", f"pythonpath={HERE}")


@pytest.fixture
def inner(pytester, monkeypatch):
    """Run pytest on a source, within this process."""
    for name, value in INNER.items():
        monkeypatch.setenv(name, value)

    def run(source, *options):
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*OPTIONS, *options)

    return run


# Collects no more than is to be run: all of the kit for each provider takes longer than what is run of it.
CHOOSING = """
CHOSEN = {chosen}

def pytest_pycollect_makeitem(collector, name):
    chosen = CHOSEN.get(collector.name.removeprefix("Test"))
    return [] if name.startswith("test_") and chosen and name not in chosen else None
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run each wrong provider with the test meant for it, right ones with all of those, in one process."""
    folder = tmp_path_factory.mktemp("kit")
    chosen = {name: {wrong.caught_by} for name, wrong in WRONG.items()}
    chosen["RightWithLimit"] = _with_limit()
    chosen["Right"] = {wrong.caught_by for wrong in WRONG.values()} - _with_limit()
    (folder / "conftest.py").write_text(CHOOSING.format(chosen=chosen))
    for name in chosen:
        case = CASE.format(name=name, **(RIGHT | getattr(wrong_providers, name).kit))
        (folder / f"test_{name}.py").write_text(case)
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-rA", "--tb=no"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | INNER, capture_output=True, text=True, check=False
    )
    found = {name: [] for name in chosen}
    for outcome, name in re.findall(r"^([A-Z]+) test_\w+\.py::Test(\w+)::", done.stdout, re.MULTILINE):
        found[name].append(outcome)
    return found


def test_each_wrong_provider_is_caught(outcomes):
    """The test that is meant for it fails, not for an error outside of it, and passes on a right provider.

    One test, as each worker that had a part of it would run them all.
    """
    assert [name for name in WRONG if "FAILED" not in outcomes[name]] == []
    assert [name for name in WRONG if "ERROR" in outcomes[name]] == []
    for name in ("Right", "RightWithLimit"):
        assert set(outcomes[name]) == {"PASSED"}
        expected = (
            _with_limit() if name == "RightWithLimit" else {wrong.caught_by for wrong in WRONG.values()}
        )
        assert len(outcomes[name]) >= len(expected - _with_limit())


def _with_limit():
    return {wrong.caught_by for wrong in WRONG.values() if "max_value_bytes" in wrong.kit}


def test_there_are_wrong_providers_enough():
    """Every chapter of the kit catches somebody."""
    from strongroom.testing.conformance import ProviderConformance

    caught = {wrong.caught_by for wrong in WRONG.values()}
    chapters = [chapter for chapter in ProviderConformance.__bases__ if not caught & set(vars(chapter))]
    assert chapters == []
    assert len(WRONG) >= 15


def test_the_kit_is_large_enough():
    """There are eighty tests and more, each with its sentence."""
    from strongroom.testing import ProviderConformance

    tests = [
        getattr(ProviderConformance, name) for name in dir(ProviderConformance) if name.startswith("test_")
    ]
    assert len(tests) >= 80
    assert [test.__name__ for test in tests if not test.__doc__ or not test.__doc__.endswith(".")] == []


def test_minimal_provider_is_tested_by_what_it_has(inner):
    """With the four methods alone the tests of capabilities are skipped, and the reasons said."""
    result = inner(
        """
        import pytest
        from strongroom.errors import SecretNotFoundError
        from strongroom.keys import check_key, check_prefix, check_value, is_reserved
        from strongroom.testing import ProviderConformance

        class Four:
            def __init__(self): self.kept = {}
            def get_secret(self, key):
                if check_key(key) not in self.kept: raise SecretNotFoundError(key, provider="four")
                return self.kept[key]
            def set_secret(self, key, value): self.kept[check_key(key)] = check_value(value, key)
            def delete_secret(self, key):
                self.get_secret(key)
                del self.kept[key]
            def list_secrets(self, prefix=""):
                check_prefix(prefix)
                found = [key for key in list(self.kept) if key.startswith(prefix)]
                return sorted(key for key in found if not is_reserved(key))

        class TestFour(ProviderConformance):
            @pytest.fixture
            def provider(self): return Four()
        """,
        "-rs",
    )
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped"}
    assert outcomes["passed"] > 200
    for protocol in ("BatchReader", "BatchWriter", "Describer", "VersionReader", "StagedWriter", "Closeable"):
        result.stdout.fnmatch_lines([f"*the provider is not a {protocol}*"])


def test_a_capability_that_the_server_lacks_is_skipped(inner):
    """`UnsupportedOperationError` counts like a capability that is not there."""
    result = inner(
        """
        import pytest
        from strongroom.providers import unsupported
        from strongroom.testing import ProviderConformance
        from strongroom_memory import MemorySecretProvider

        class OldServer(MemorySecretProvider):
            def describe_secret(self, key): raise unsupported("describe_secret", self, key)

        class TestOldServer(ProviderConformance):
            @pytest.fixture
            def provider(self): return OldServer()
        """,
        "-rs",
        "-k",
        "describe_has",
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}
    result.stdout.fnmatch_lines(["*not offered by the server*"])


def test_a_server_without_batches_is_held_to_silence_all_the_same(inner):
    """A provider may have the methods, and its server refuse them; what it tells is looked at even so."""
    result = inner(
        """
        import pytest
        from strongroom.providers import unsupported
        from strongroom.testing import ProviderConformance
        from strongroom_memory import MemorySecretProvider

        class OldServer(MemorySecretProvider):
            def get_secrets(self, keys): raise unsupported("get_secrets", self)
            def set_secrets(self, values): raise unsupported("set_secrets", self)

        class TestOldServer(ProviderConformance):
            @pytest.fixture
            def provider(self): return OldServer()
        """,
        "-k",
        "logs_warnings",
    )
    assert result.parseoutcomes().keys() == {"passed", "deselected"}


def test_a_waiver_is_an_xfail(inner):
    """A test that a backend cannot pass is overridden, marked, and calls the kit's own."""
    result = inner(
        CASE.format(name="ListsOnePage", **RIGHT)
        + """
    @pytest.mark.xfail(reason="one page is all there is", strict=True)
    def test_list_has_all_pages(self, provider):
        super().test_list_has_all_pages(provider)
""",
        "-k",
        "test_list",
    )
    assert result.parseoutcomes().keys() == {"passed", "xfailed", "deselected"}


def test_keys_may_be_shorter_behind_a_middleware(inner):
    """Where something in front makes keys longer, the kit's own are kept shorter."""
    result = inner(
        """
        import pytest
        from strongroom.middleware import PrefixMiddleware
        from strongroom.testing import ProviderConformance
        from strongroom_memory import MemorySecretProvider

        class TestPrefixed(ProviderConformance):
            max_key_characters = 505

            @pytest.fixture
            def provider(self): return PrefixMiddleware(MemorySecretProvider(), "prefix/")
        """,
        *("-k", "KeyTests or hostile_key or long"),
    )
    assert result.parseoutcomes().keys() == {"passed", "deselected"}


def test_a_kit_without_a_provider_says_so(inner):
    """Who forgets the fixture is told which one."""
    result = inner(
        "from strongroom.testing import ProviderConformance\nclass TestX(ProviderConformance): pass",
        "-k",
        "test_set_creates",
    )
    result.stdout.fnmatch_lines(["*TestX must override the fixture 'provider'*"])


def test_failing_asserts_show_both_sides(pytester, monkeypatch):
    """Asserts of the kit are explained like the author's own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(CASE.format(name="ListsByWriting", **RIGHT))
    result = pytester.runpytest_subprocess(*OPTIONS, "-k", "test_list_is_sorted")
    result.stdout.fnmatch_lines(["*At index 0 diff: 'b' != '10'*"])


def test_importing_the_package_needs_no_pytest():
    """`strongroom.testing` loads pytest with `ProviderConformance`, and not before."""
    source = "import sys, strongroom.testing\nprint('pytest' in sys.modules, 'strongroom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_names_of_the_package():
    """What is not there is an `AttributeError`; what is, is listed."""
    import strongroom.testing

    assert dir(strongroom.testing) == [
        "BehindMiddleware",
        "CacheStoreConformance",
        "ProviderConformance",
        "RotatorConformance",
        "behind",
        "behind_each",
        "sampled",
    ]
    with pytest.raises(AttributeError, match="Nothing"):
        strongroom.testing.Nothing  # noqa: B018 - the access is what is tested
