"""The plugin for pytest, in pytest runs of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from strongroom import SecretProviderRegistry, masking
from strongroom.integrations.pytest import IN_MEMORY

pytest_plugins = ["pytester"]

VALUE = "correct-horse-battery"


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """Load what a run in this process uses: what only the run imports is taken out again, and then there twice."""
    with SecretProviderRegistry(IN_MEMORY) as registry:
        registry.observe_values(masking.Masker().add)
        registry.set_secret("key", VALUE)
        registry.get_secret("key")


@pytest.fixture
def outcome(pytester, monkeypatch):
    """Return a function that runs a test module in this process, and gives its outcomes and its report.

    The plugins of the run that we are in would be imported again, for longer than the tests take.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(text, *options, **expected):
        pytester.makepyfile(text)
        result = pytester.runpytest_inprocess("-p", "strongroom.integrations.pytest", "-rA", *options)
        assert result.parseoutcomes() == expected, result.stdout.str()
        report = result.stdout.str() + result.stderr.str()
        assert VALUE not in report
        return report

    return run


def test_a_test_that_prints_nothing_passes(outcome):
    """With a registry of its own, which holds what the marker says, and is empty for the next test."""
    outcome(
        f"""
        import pytest

        @pytest.mark.strongroom(values={{"database/password": "{VALUE}"}})
        def test_one(strongroom_registry):
            assert len(strongroom_registry.get_secret("database/password")) == 21
            print("nothing of it")

        def test_two(strongroom_registry):
            assert strongroom_registry.list_secrets() == []
        """,
        passed=2,
    )


@pytest.mark.parametrize(
    ("leak", "where"),
    [
        ("print(value)", "Captured stdout call"),
        ("print('a', value, file=__import__('sys').stderr)", "Captured stderr call"),
        ("__import__('logging').getLogger('app').warning('it is %s', value)", "Captured log call"),
        ("print(__import__('base64').b64encode(b'user:' + value.encode()).decode())", "Captured stdout call"),
        ("__import__('os').system('echo ' + value)", "Captured stdout call"),
    ],
)
def test_a_test_that_prints_a_value_fails(outcome, leak, where):
    """The report says where, and masks it."""
    report = outcome(
        f"""
        import pytest

        @pytest.mark.strongroom(values={{"database/password": "{VALUE}"}})
        def test_it(strongroom_registry):
            value = strongroom_registry.get_secret("database/password")
            {leak}
        """,
        "-p",
        "no:cacheprovider",
        failed=1,
    )
    assert f"a secret's value is in: {where}" in report
    assert "****" in report


def test_a_value_that_was_only_written_counts(outcome):
    outcome(
        f"""
        import pytest

        @pytest.mark.parametrize("write", [
            lambda registry, value: registry.set_secret("a", value),
            lambda registry, value: registry.set_secrets({{"a": value}}),
            lambda registry, value: registry.set_secret_if("a", value, None),
            lambda registry, value: registry.stage_secret("a", value),
        ])
        def test_it(strongroom_registry, write):
            write(strongroom_registry, '{VALUE}')
            print('{VALUE[::-1]}'[::-1])
        """,
        failed=4,
    )


def test_setup_and_teardown_count(outcome):
    """Each phase that printed it fails, and none twice; after a setup that did, the test does not run."""
    outcome(
        f"""
        import pytest

        @pytest.fixture
        def filled(strongroom_registry):
            strongroom_registry.set_secret("a", "{VALUE}")
            print(strongroom_registry.get_secret("a"))
            yield
            print("done")

        def test_it(filled):
            pass

        @pytest.fixture
        def late(strongroom_registry):
            yield
            strongroom_registry.set_secret("a", "{VALUE}")
            print(strongroom_registry.get_secret("a"))

        def test_late(late):
            pass
        """,
        errors=2,
        passed=1,
    )


def test_a_failure_shows_no_value(outcome):
    """An assertion that compares it is masked."""
    report = outcome(
        f"""
        def test_it(strongroom_registry):
            strongroom_registry.set_secret("a", "{VALUE[:10]}" "{VALUE[10:]}")
            assert strongroom_registry.get_secret("a") == "wrong"
        """,
        failed=1,
    )
    assert "wrong" in report


def test_a_marker_allows_it(pytester):
    """In a run that finds the plugin by its entry point; the other plugins that are installed are not imported."""
    others = {one.name for one in entry_points(group="pytest11") if not one.value.startswith("strongroom.")}
    assert others
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.strongroom(values={{"a": "{VALUE}"}}, allow_output=True)
        def test_it(strongroom_registry):
            print(strongroom_registry.get_secret("a"))
        """
    )
    words = [word for name in sorted(others) for word in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*words).assert_outcomes(passed=1)


def test_markers_of_a_test_its_class_and_its_module_are_joined(outcome):
    """The closest one counts, and what it does not give is taken from the others."""
    outcome(
        f"""
        import pytest

        pytestmark = pytest.mark.strongroom(values={{"a": "{VALUE}", "b": "of-the-module"}})

        @pytest.mark.strongroom(values={{"b": "of-the-class"}})
        class TestOne:
            @pytest.mark.strongroom(values={{"c": "of-the-test"}})
            def test_values(self, strongroom_registry):
                found = strongroom_registry.get_secrets(["a", "b", "c"])
                assert found == {{"a": "{VALUE}", "b": "of-the-class", "c": "of-the-test"}}

        @pytest.mark.strongroom(allow_output=True)
        def test_output(strongroom_registry):
            print(strongroom_registry.get_secret("b"))
        """,
        passed=2,
    )


def test_a_wrong_marker_is_an_error(outcome):
    report = outcome(
        """
        import pytest

        @pytest.mark.strongroom(value={"a": "b"})
        def test_misspelt(strongroom_registry): ...

        @pytest.mark.strongroom({"a": "b"})
        def test_without_a_name(strongroom_registry): ...

        @pytest.mark.strongroom(values={"a": 5})
        def test_no_text(strongroom_registry): ...
        """,
        errors=3,
    )
    assert "takes spec, values, allow_output, by name; not value" in report
    assert "takes spec, values, allow_output, by name; not something" in report
    assert "TypeError: the value for 'a' must be str" in report


def test_a_warning_shows_no_value(outcome):
    """It is not captured output: the summary at the end has it."""
    report = outcome(
        """
        import warnings
        import pytest

        @pytest.mark.strongroom(values={"a": "correct-horse-" + "battery"})
        def test_warns(strongroom_registry):
            warnings.warn("it is " + strongroom_registry.get_secret("a"))
        """,
        "-W",
        "default",
        passed=1,
        warnings=1,
    )
    assert "UserWarning: it is ********" in report


def test_a_spec_and_a_registry_of_ones_own(outcome):
    outcome(
        f"""
        import asyncio
        import pytest
        from strongroom import SecretProviderRegistry
        from strongroom.aio import AsyncSecretRegistry

        SPEC = {{"version": 1, "pipelines": {{"mine": {{"provider": {{"type": "memory"}}}}}}}}

        @pytest.mark.strongroom(spec=SPEC)
        def test_it(strongroom_registry):
            assert strongroom_registry.pipelines() == ["mine"]

        def test_watched(strongroom_watch):
            with SecretProviderRegistry(SPEC) as registry:
                strongroom_watch(registry)
                registry.set_secret("a", "{VALUE}")
                print(registry.get_secret("a"))

        def test_asynchronous(strongroom_watch):
            async def main():
                async with AsyncSecretRegistry(SPEC) as registry:
                    strongroom_watch(registry)
                    await registry.set_secret("a", "{VALUE}")
                    print(await registry.get_secret("a"))

            asyncio.run(main())
        """,
        passed=1,
        failed=2,
    )


def test_reasons_and_properties_are_masked_and_stay_what_other_plugins_expect(outcome, pytester):
    """A JUnit file takes the reason of a skipped test for a tuple, and an expected failure for a skipped test."""
    outcome(
        f"""
        import pytest

        pytestmark = pytest.mark.strongroom(values={{"a": "{VALUE}"}})

        def test_skipped(strongroom_registry):
            pytest.skip("because of " + strongroom_registry.get_secret("a"))

        def test_expected(strongroom_registry):
            pytest.xfail("because of " + strongroom_registry.get_secret("a"))

        def test_property(strongroom_registry, record_property):
            record_property("token", strongroom_registry.get_secret("a"))

        @pytest.mark.xfail
        def test_expected_that_prints(strongroom_registry):
            print(strongroom_registry.get_secret("a"))
            assert False
        """,
        "-p",
        "junitxml",
        "--junitxml=report.xml",
        "-o",
        "junit_family=xunit1",
        passed=1,
        skipped=1,
        xfailed=1,
        failed=1,
    )
    report = (pytester.path / "report.xml").read_text()

    assert VALUE not in report
    assert report.count("because of ********") >= 2
    assert '<property name="token" value="********"' in report
    assert 'failures="1" skipped="2"' in report


def test_subtests_count(outcome):
    """What they print is added to their reports after these are made."""
    report = outcome(
        f"""
        import pytest

        pytestmark = pytest.mark.strongroom(values={{"a": "{VALUE}"}})

        def test_prints(strongroom_registry, subtests):
            with subtests.test("prints"):
                print("it is", strongroom_registry.get_secret("a"))

        def test_names(strongroom_registry, subtests):
            with subtests.test("named", value=strongroom_registry.get_secret("a"), other="b"):
                assert False

        def test_is_silent(strongroom_registry, subtests):
            with subtests.test("good"):
                print("nothing")
        """,
        passed=2,
        failed=3,
    )

    assert "a secret's value is in: Captured stdout call (masked below)" in report
    assert "it is ********" in report
    assert "[named] (value='********', other='b')" in report


def test_a_registry_that_outlives_a_test_goes_on_to_tell_others_and_tells_that_test_nothing(outcome):
    outcome(
        f"""
        import pytest
        from strongroom import SecretProviderRegistry

        SPEC = {{"version": 1, "pipelines": {{"mine": {{"provider": {{"type": "memory"}}}}}}}}
        told = []

        @pytest.fixture(scope="session")
        def registry():
            with SecretProviderRegistry(SPEC) as registry:
                registry.observe_values(told.append)  # as `masking.install` does, which is for a whole process
                yield registry

        def test_watched(strongroom_watch, registry):
            strongroom_watch(registry)
            registry.set_secret("a", "{VALUE}")
            assert len(told) == len(registry._value_observers) - 1 == 1

        def test_another(registry):
            registry.set_secret("b", "another")
            assert told.pop() == "another"
            assert len(registry._value_observers) == 1
        """,
        passed=2,
    )


def test_the_plugin_costs_a_run_nothing_that_does_not_use_it():
    """It is there by its entry point, knows its marker, and has loaded no spec, no pydantic, no plugin."""
    script = (
        "import sys, pytest, strongroom.integrations.pytest;"
        "print([name for name in sys.modules if name.partition('.')[0] in"
        " ('pydantic', 'yaml', 'strongroom_memory', 'cryptography', 'jinja2')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
