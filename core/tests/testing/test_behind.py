"""`behind`: an author's kit once more, with middleware in front."""

from __future__ import annotations

import inspect

import pytest
from strongroom.middleware import PrefixMiddleware, RetryMiddleware
from strongroom.plugins import builtins, builtins_encryption, builtins_keys
from strongroom.testing import BehindMiddleware, ProviderConformance, behind, behind_each, sampled
from strongroom.testing.conformance.base import why_not_asked
from strongroom.testing.middleware import CHAIN
from strongroom.testing.sampling import names_of_tests, together
from strongroom_memory import MemorySecretProvider

pytest_plugins = ["pytester"]


class Kit(ProviderConformance):
    max_value_bytes = 1000
    not_representable = ("\x00",)
    sdk_modules = ("sqlite3",)

    @pytest.fixture
    def provider(self):
        return MemorySecretProvider()

    @pytest.fixture
    def reopened(self, provider):
        return provider


def given(kit, name):
    """Return the function of a fixture."""
    return inspect.getattr_static(kit, name)._get_wrapped_function()


def test_order():
    """What tests ask for is wrapped, outermost first, around what the author's own fixture gives."""
    bare = MemorySecretProvider()
    made = next(given(behind(Kit, "prefix", "retry"), "provider")(None, bare))
    assert isinstance(made, PrefixMiddleware)
    assert isinstance(made.inner, RetryMiddleware)
    assert made.inner.inner is bare


def test_second():
    """The second provider has the same in front of it, unless there is none, or what is remembered would differ."""
    bare = MemorySecretProvider()
    wrapped = given(behind(Kit, "prefix"), "reopened")
    assert isinstance(next(wrapped(None, bare)), PrefixMiddleware)
    assert next(wrapped(None, None)) is None
    assert inspect.getattr_static(behind(Kit, "prefix", "caching"), "reopened") is inspect.getattr_static(
        ProviderConformance, "reopened"
    )


def test_room_for_keys():
    """Keys are as much shorter as the middleware makes them longer; values have the room they had."""
    kit = behind(Kit, "prefix", "retry")
    assert (kit.max_key_characters, kit.max_value_bytes) == (512 - len("some/prefix/"), 1000)
    assert kit.not_representable == ("\x00",)


def test_tokens_need_room():
    """Behind encryption a value has the room that its token leaves, and any text is representable."""
    kit = behind(Kit, "encryption")
    assert 650 < kit.max_value_bytes < 750
    assert kit.not_representable == ()
    assert behind(ProviderConformance, "encryption").max_value_bytes is None


def test_every_middleware_is_there():
    """The kit is run behind all that a spec can name, read-only aside."""
    modules = (builtins, builtins_encryption, builtins_keys)
    names = {plugin.name for module in modules for plugin in module.strongroom_middleware()}
    assert names - {"read-only"} == set(CHAIN)


def test_no_such_middleware():
    with pytest.raises(ValueError, match="no middleware of the kit: nonsense"):
        behind(Kit, "prefix", "nonsense")


def test_each_alone_and_all_together():
    made = behind_each(Kit)
    assert len(made) == len(CHAIN) + 1
    assert set(made) > {"KitBehindAll", "KitBehindEncryption"}
    assert not any(is_marked(kit, name) for kit in made.values() for name in names_of_tests(kit))


def test_a_class_has_them_as_members_that_pytest_finds(pytester):
    """Named as in `behind_each`, and with its keywords; a search for the class finds it in the module."""
    pytester.makeconftest(
        """
        def pytest_pycollect_makeitem(name):  # to collect one test of each is enough, and ten times as fast
            return [] if name.startswith("test_") and name != "test_list_is_sorted" else None
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from strongroom.testing import BehindMiddleware, ProviderConformance
        from strongroom_memory import MemorySecretProvider

        class TestKit(ProviderConformance):
            @pytest.fixture
            def provider(self):
                return MemorySecretProvider()

        class TestKitBehindMiddleware(BehindMiddleware, kit=TestKit):
            pass
        """
    )
    found = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider").stdout.lines
    kits = {line.split("::")[2] for line in found if "::TestKitBehindMiddleware::" in line}
    assert kits == {f"TestKitBehind{name.title()}" for name in (*CHAIN, "all")}

    class Members(BehindMiddleware, kit=Kit, beyond_sample=[pytest.mark.torture]):
        pass

    sampled_kits = behind_each(Kit, beyond_sample=[pytest.mark.torture])
    assert [kit.__name__ for kit in Members.kits] == list(sampled_kits)
    for kit, same in zip(Members.kits, sampled_kits.values(), strict=True):
        assert vars(Members)[kit.__name__] is kit
        assert names_of_tests(kit) == names_of_tests(same)
        assert {name: is_marked(kit, name) for name in names_of_tests(kit)} == {
            name: is_marked(same, name) for name in names_of_tests(same)
        }


def test_a_sample_has_each_test_once():
    """All but one of each test get the marks, behind what asks for it at all; the kit's own tests get none.

    Of a test with parameters, all but one; with the others each kit is whole.
    """
    made = behind_each(Kit, beyond_sample=[pytest.mark.torture]).values()
    for name in names_of_tests(Kit):
        asking = [kit for kit in made if not why_not_asked(kit, getattr(kit, name))]
        sampled = [kit for kit in asking if not is_marked(kit, name)]
        assert sum(len(parameters(kit, name)) for kit in sampled) == bool(asking), name
        check_whole(asking, name)
        assert not is_marked(Kit, name)
        assert not is_marked(ProviderConformance, name)
    sizes = [sum(not is_marked(kit, name) for name in names_of_tests(kit)) for kit in made]
    assert min(sizes) > 5
    again = behind_each(Kit, beyond_sample=[pytest.mark.torture]).values()
    assert sizes == [sum(not is_marked(kit, name) for name in names_of_tests(kit)) for kit in again]


def test_a_sample_may_have_one_in_some_tests():
    """What the sample then has, it would have too with all tests; each middleware is in it, and no test is lost."""
    whole, third = (
        behind_each(Kit, beyond_sample=[pytest.mark.torture], one_in=one_in).values() for one_in in (1, 3)
    )
    sizes = [sum(not is_marked(kit, name) for name in names_of_tests(kit)) for kit in third]
    assert min(sizes) > 1
    tests = sum(not is_marked(kit, name) for kit in whole for name in names_of_tests(kit))
    assert 2 * sum(sizes) < tests < 4 * sum(sizes)
    few = behind_each(Kit, beyond_sample=[pytest.mark.torture], one_in=1000).values()
    assert [sum(not is_marked(kit, name) for name in asked_of(kit)) for kit in few] == [1] * len(few)
    for name in names_of_tests(Kit):
        check_whole([kit for kit in few if not why_not_asked(kit, getattr(kit, name))], name)
        check_whole([kit for kit in third if not why_not_asked(kit, getattr(kit, name))], name)


def test_a_sample_may_have_each_test_behind_each_middleware():
    """As many as there are parameters, or kinds of middleware; none of either is left out, and none is lost."""
    made = behind_each(Kit, beyond_sample=[pytest.mark.torture], each_middleware=True).values()
    for name in names_of_tests(Kit):
        asking = [kit for kit in made if not why_not_asked(kit, getattr(kit, name))]
        assert not any(is_marked(kit, name) for kit in asking), name
        check_whole(asking, name)
        if asking:
            met = [repr(one) for kit in asking for one in parameters(kit, name)]
            assert set(met) == set(map(repr, parameters(Kit, name)))
            assert len(met) <= max(len(asking), len(parameters(Kit, name)))


def test_another_configuration_has_a_sample_of_its_own():
    """Each test is in it once, with one of its parameters; what it is made of stays whole."""

    @sampled(pytest.mark.torture)
    class Other(Kit):
        pass

    for name in names_of_tests(Kit):
        if not why_not_asked(Kit, getattr(Kit, name)):
            assert len(parameters(Other, name)) == 1
            assert not is_marked(Other, name)
            check_whole([Other], name)
        assert not hasattr(Kit, f"{name}_beyond")


def test_another_configuration_may_have_one_in_some_tests():
    """And what only it is held to, as where the first one cannot fork; with the rest it is whole."""

    class First(Kit):
        survives_forks = "it has a thread of its own"

    class Other(First):
        survives_forks = True

    sampled(pytest.mark.torture, one_in=4)(Other)
    asked = [name for name in names_of_tests(Kit) if not why_not_asked(Other, getattr(Other, name))]
    alone = [name for name in asked if why_not_asked(First, getattr(First, name))]
    chosen = [name for name in asked if not is_marked(Other, name)]
    assert alone
    assert set(alone) <= set(chosen)
    assert 2 * (len(chosen) - len(alone)) < len(asked) < 6 * len(chosen)
    for name in asked:
        check_whole([Other], name)


def test_one_test_may_try_all_parameters():
    """It is of the kit alone; the tests of single parameters are all there, with marks."""

    class Other(Kit):
        pass

    class Derived(Other):
        pass

    assert together(pytest.mark.torture)(Other) is Other
    for name in names_of_tests(Kit):
        joined = getattr(Other, f"{name}_together", None)
        several = len(parameters(Kit, name)) > 1 and not why_not_asked(Kit, getattr(Kit, name))
        assert (joined is not None) is several, name
        assert is_marked(Other, name) is several
        assert parameters(Other, name) == parameters(Kit, name)
        if joined is not None:
            assert not is_marked(Other, f"{name}_together")
            assert why_not_asked(Other, joined) == []
            assert why_not_asked(Derived, joined)


def test_a_test_of_all_parameters_names_each_that_fails():
    """And goes on to the next one; it takes the arguments that are left."""
    tried = []

    class Careless(Kit):
        @pytest.mark.parametrize("key", ["a", pytest.param("b", id="the second"), "c"])
        def test_keys(self, provider, key):
            tried.append((provider, key))
            assert key == "a"

        @pytest.mark.parametrize("key", ["a", "b"], ids=["one", "two"])
        def test_more_keys(self, provider, key):
            with pytest.raises(KeyError):
                assert provider == key

    together()(Careless)
    assert list(inspect.signature(Careless.test_keys_together).parameters) == ["self", "provider"]
    with pytest.raises(pytest.fail.Exception, match=r"(?s)\[the second\].*\['c'\]"):
        Careless().test_keys_together(provider=1)
    assert tried == [(1, "a"), (1, "b"), (1, "c")]
    with pytest.raises(pytest.fail.Exception, match=r"(?s)\[two\]"):
        Careless().test_more_keys_together(provider="a")


def test_a_second_provider_is_asked_for_where_there_is_one():
    """Behind what remembers there is none, so those tests are not even collected."""
    for made, asked in ((behind(Kit, "prefix"), True), (behind(Kit, "caching"), False)):
        test = made.test_another_provider_reads_what_was_written
        assert bool(why_not_asked(made, test)) is not asked
    assert why_not_asked(Kit, Kit.test_no_sdk_is_loaded_before_the_first_call) == []
    assert why_not_asked(behind(Kit, "prefix"), Kit.test_no_sdk_is_loaded_before_the_first_call)


def asked_of(kit):
    """Return the names of the tests that a kit is held to."""
    return [name for name in names_of_tests(kit) if not why_not_asked(kit, getattr(kit, name))]


def parameters(kit, name):
    """Return those of a test, or one that stands for a test without."""
    marks = getattr(getattr(kit, name), "pytestmark", ())
    return next((list(mark.args[1]) for mark in marks if mark.name == "parametrize"), ["none"])


def check_whole(kits, name):
    """Check that what the sample has of a test, and what is beyond it, are all of it."""
    for kit in kits:
        rest = f"{name}_beyond"
        assert not hasattr(kit, rest) or is_marked(kit, rest)
        both = [*parameters(kit, name), *(parameters(kit, rest) if hasattr(kit, rest) else ())]
        assert sorted(map(repr, both)) == sorted(map(repr, parameters(Kit, name)))


def is_marked(kit, name):
    return any(mark.name == "torture" for mark in getattr(getattr(kit, name), "pytestmark", ()))


def test_what_an_sdk_logs_is_its_own_affair_behind_middleware_too():
    logging_kit = type("LoggingKit", (Kit,), {"sdk_modules": ("sdk",), "sdk_loggers": ("transport",)})
    kit = behind(logging_kit, "prefix")
    assert (kit.sdk_modules, kit.sdk_loggers) == ((), ("sdk", "transport"))
