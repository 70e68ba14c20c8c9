"""The active tenant: nesting, threads, tasks, and ids."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from strongroom import TenantContext, current_tenant
from strongroom.errors import InvalidTenantError
from strongroom.tenancy import check_tenant_id


def test_no_tenant_is_active_at_first():
    """Outside of any block there is none."""
    assert current_tenant() is None


def test_blocks_nest():
    """The inner tenant is active within, the outer one again after."""
    with TenantContext(tenant_id="outer"):
        with TenantContext("inner"):
            assert current_tenant() == "inner"
        assert current_tenant() == "outer"
    assert current_tenant() is None


def test_a_block_ends_by_an_error_too():
    """An error leaves no tenant behind."""
    with pytest.raises(RuntimeError), TenantContext("acme"):
        raise RuntimeError
    assert current_tenant() is None


def test_one_object_is_entered_again():
    """One object may be entered within itself, and later again."""
    acme = TenantContext("acme")
    with acme, TenantContext("other"):
        with acme:
            assert current_tenant() == "acme"
        assert current_tenant() == "other"
    with acme:
        assert current_tenant() == "acme"
    assert current_tenant() is None


def test_entering_gives_the_object():
    """`as` names the context itself."""
    acme = TenantContext("acme")
    with acme as entered:
        assert entered is acme
    assert repr(acme) == "TenantContext(tenant_id='acme')"


def test_async_blocks():
    """`async with` does the same."""

    async def main():
        async with TenantContext("acme") as entered:
            await asyncio.sleep(0)
            return current_tenant(), entered.tenant_id

    assert asyncio.run(main()) == ("acme", "acme")


def test_tasks_do_not_see_one_another():
    """Tasks that interleave keep their own tenants, also with one object entered by several."""
    shared = TenantContext("shared")

    async def task(context, turns):
        seen = set()
        async with context:
            for _ in range(turns):
                await asyncio.sleep(0)
                seen.add(current_tenant())
        return seen, current_tenant()

    async def main():
        contexts = [shared, TenantContext("a"), shared, TenantContext("b"), shared]
        return await asyncio.gather(*(task(context, turns) for turns, context in enumerate(contexts, 2)))

    expected = ["shared", "a", "shared", "b", "shared"]
    assert asyncio.run(main()) == [({name}, None) for name in expected]


def test_threads_do_not_see_one_another():
    """Threads within one object at once leave it in any order."""
    shared = TenantContext("shared")
    inside = threading.Barrier(4, timeout=300)

    def work(_):
        with shared:
            inside.wait()
            return current_tenant()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == ["shared"] * 4
        assert list(pool.map(lambda _: current_tenant(), range(4))) == [None] * 4


def test_a_thread_with_its_makers_context():
    """Who carries the context over carries the tenant over."""
    with TenantContext("acme"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, current_tenant).result() == "acme"


@pytest.mark.parametrize("tenant_id", ["a", "A-1_b", "0", "x" * 64])
def test_valid_ids(tenant_id):
    """1-64 of letters, digits, `_` and `-`."""
    assert check_tenant_id(tenant_id) == tenant_id


@pytest.mark.parametrize(
    "tenant_id", ["", "x" * 65, "a/b", "a.b", "..", "a b", "é", "a\n", "\u0661", "{key}", None, 5, b"a"]
)
def test_invalid_ids(tenant_id):
    """Anything else is refused before it is active."""
    with pytest.raises(InvalidTenantError, match="invalid tenant id"):
        TenantContext(tenant_id)
    assert current_tenant() is None


def test_what_a_block_took_is_given_back():
    """Contexts are made for each request: one that stayed in memory would fill it."""
    import gc
    import weakref

    context = TenantContext("acme")
    with context:
        pass
    gone = weakref.ref(context)
    del context
    gc.collect()
    assert gone() is None
    before = len([one for one in gc.get_objects() if type(one).__name__ == "ContextVar"])
    for _ in range(100):
        with TenantContext("acme"):
            pass
    after = len([one for one in gc.get_objects() if type(one).__name__ == "ContextVar"])
    assert after == before


def rows(tenant_id, context=None):
    with context or TenantContext(tenant_id):
        while True:
            yield current_tenant()


def test_a_generator_that_is_dropped_in_another_block_changes_nothing_there():
    """The block of the generator ends; the one at hand and those around it stay."""
    with TenantContext("a"):
        generator = rows("c")
        assert next(generator) == "c"
        with TenantContext("b"):
            del generator
            assert current_tenant() == "b"
        assert current_tenant() == "a"
    assert current_tenant() is None


def test_an_async_generator_that_is_left_early_leaves_no_tenant():
    """The loop closes it in a task of its own; the request goes on under its own tenant."""

    async def main():
        async def pages(over):
            try:
                async with TenantContext("c"):
                    yield 1
                    yield 2
            finally:
                over.set()

        async def first():
            over = asyncio.Event()
            async for _ in pages(over):
                break
            await over.wait()
            return current_tenant(), await asyncio.create_task(asyncio.to_thread(current_tenant))

        async with TenantContext("a"):
            inside = await first()
        return inside, await first()

    assert asyncio.run(main()) == (("a", "a"), (None, None))


def test_a_pools_thread_forgets_a_generator_that_another_thread_closed():
    """The thread in which the block began sees that it is over, and so does what copied it."""
    generator = rows("c")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: next(generator)).result() == "c"
        copied = pool.submit(copy_context).result()
        generator.close()
        assert pool.submit(current_tenant).result() is None
        assert copied.run(current_tenant) is None


def test_a_task_keeps_the_tenant_of_the_block_it_was_started_in():
    """Also after the block has ended, where it began."""

    async def main():
        go_on = asyncio.Event()

        async def task():
            await go_on.wait()
            return current_tenant()

        async with TenantContext("acme"):
            started = asyncio.create_task(task())
        go_on.set()
        return await started, current_tenant()

    assert asyncio.run(main()) == ("acme", None)


def test_the_generators_of_one_object_end_each_its_own_block():
    """One object, two contexts: to close the one generator does not take the tenant from the other's."""
    shared = TenantContext("c")
    first, second = copy_context(), copy_context()
    one, two = rows("c", shared), rows("c", shared)
    first.run(next, one)
    second.run(next, two)
    one.close()
    assert (first.run(current_tenant), second.run(current_tenant)) == (None, "c")
    assert second.run(next, two) == "c"
    two.close()
    assert second.run(current_tenant) is None


def test_a_block_that_is_not_open_cannot_be_left():
    """It is a mistake of the caller, and is said."""
    with pytest.raises(RuntimeError, match="exited more often"):
        TenantContext("acme").__exit__(None, None, None)


def test_an_object_can_be_pickled_and_copied_while_it_is_open():
    """The copy has the tenant, and none of the open blocks."""
    import copy
    import pickle

    acme = TenantContext("acme")
    with acme:
        for other in (pickle.loads(pickle.dumps(acme)), copy.deepcopy(acme)):
            assert other.tenant_id == "acme"
            with other:
                assert current_tenant() == "acme"


def test_reasons_operations_and_actors_end_in_any_order_too():
    """`because`, `as_operation` and `acting_as` in a generator that is closed late, by another thread."""
    from strongroom.audit.reason import because, current_reason
    from strongroom.hooks import acting_as
    from strongroom.hooks.identity import actor
    from strongroom.pipeline import as_operation
    from strongroom.pipeline.operations import _operations

    def steps():
        with because("of the generator"), as_operation("rotate"), acting_as("generator"):
            yield

    nobody = actor()
    generator = steps()
    next(generator)
    with because("of the block"), acting_as("block"):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(generator.close).result()
        assert (current_reason(), actor()) == ("of the block", "block")
        assert _operations.innermost() is None
    assert (current_reason(), actor()) == (None, nobody)
    generator = steps()
    next(generator)
    with acting_as("block"):
        generator.close()
        assert actor() == "block"
    assert actor() == nobody
