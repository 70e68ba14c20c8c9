"""What logging and tracebacks show; among it what went wrong with another project's masker."""

from __future__ import annotations

import collections.abc
import dataclasses
import io
import json
import logging
from collections import OrderedDict, namedtuple

import pytest
import warm_command
from strongroom import masking
from strongroom.masking import Masker, MaskingFilter, mask
from strongroom.masking import log_filter as masking_logs
from strongroom.registry import SecretProviderRegistry
from strongroom.rotation import SecretRotation

VALUE = "hunter22-geheim"
MASK = masking.MARK.decode()


@pytest.fixture
def masker():
    return Masker([VALUE])


@pytest.fixture
def log(masker):
    """Return a logger of its own whose output is masked; `log.shown()` is what came out."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter(masker))
    logger = logging.Logger("test")  # noqa: LOG001  # not one of the process
    logger.addHandler(handler)
    logger.handler = handler
    logger.shown = stream.getvalue
    return logger


@pytest.fixture(autouse=True)
def no_known_values(monkeypatch):
    """Each test has a process of its own, as far as masking goes."""
    monkeypatch.setattr(masking_logs, "known", Masker())
    monkeypatch.setattr("strongroom.masking.known_values.known", masking_logs.known)


@pytest.mark.parametrize(
    "write",
    [
        lambda registry: registry.set_secret("k", VALUE),
        lambda registry: registry.set_secrets({"k": VALUE}),
        lambda registry: registry.set_secret_if("k", VALUE, None),
        lambda registry: registry.stage_secret("there", VALUE),
        lambda registry: SecretRotation(registry).rotate("there", VALUE),
    ],
    ids=["set", "batch", "conditional", "staged", "rotated"],
)
def test_what_was_only_written_is_masked_too(write):
    spec = {"version": 1, "pipelines": {"a": {"provider": {"type": "memory", "secrets": {"there": "old"}}}}}
    with SecretProviderRegistry(spec) as registry:
        masking.install(registry)
        write(registry)
    assert mask(f"stored {VALUE}") == f"stored {MASK}"


def test_a_write_of_what_is_not_text_is_refused_as_ever():
    spec = {"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}}}}
    with SecretProviderRegistry(spec) as registry:
        masking.install(registry)
        with pytest.raises(TypeError):
            registry.set_secret("k", 7)


class Client:
    """A stranger's object that shows what it holds."""

    def __repr__(self):
        return f"Client(token={VALUE})"


class Silent:
    """A stranger's object that shows it only to `str`."""

    def __str__(self):
        return VALUE

    def __repr__(self):
        return "Silent()"


class Broken:
    def __str__(self):
        raise RuntimeError(VALUE)

    __repr__ = __str__


@dataclasses.dataclass
class Settings:
    password: str


Pair = namedtuple("Pair", "user password")  # noqa: PYI024  # the untyped kind is a tuple too


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (f"token {VALUE}", ()),
        ("token %s", (VALUE,)),
        ("token %r", (VALUE,)),
        ("token %(t)s", ({"t": VALUE},)),
        ("token %s", ({"deep": [{"er": (VALUE,)}]},)),
        ("token %s", (Client(),)),
        ("token %r", (Client(),)),
        ("token %s", (Silent(),)),
        ("token %s", (Settings(VALUE),)),
        ("token %s", (VALUE.encode(),)),
        ("token %s%s", (VALUE[:6], VALUE[6:])),
        ("token hunter22-%s", ("geheim",)),
        ("token %s", (ValueError(VALUE),)),
    ],
)
def test_masks_messages_and_arguments(log, message, args):
    log.error(message, *args)
    assert "hunter" not in log.shown()
    assert MASK in log.shown()


def test_leaves_arguments_without_a_value_to_formatters_that_read_them(log, masker):
    """uvicorn's access log takes its arguments apart."""
    record = logging.LogRecord("n", logging.INFO, "p", 1, "%s %d", ("GET", 200), None)
    MaskingFilter(masker).filter(record)
    assert (record.msg, record.args) == ("%s %d", ("GET", 200))
    masked = logging.LogRecord("n", logging.INFO, "p", 1, "%s %d", (f"/?t={VALUE}", 200), None)
    MaskingFilter(masker).filter(masked)
    assert (masked.msg, masked.args) == ("%s %d", (f"/?t={MASK}", 200))


def test_masks_before_a_format_cuts_the_value_short(log):
    """CVE-2025-68438: cut first, a part of the value is left that no masker knows."""
    log.error("token %.8s", VALUE)
    log.error("token %.8s", [VALUE])
    log.error("token %.12r", Client())
    assert "hunter" not in log.shown()
    log.handler.setFormatter(logging.Formatter("%(message).20s"))
    log.error("long beginning %s", VALUE)
    assert "hunt" not in log.shown()


def test_every_masker_of_a_process_knows_what_one_was_told():
    """CVE-2025-68438, again: a second instance did not know the values of the first."""
    early = MaskingFilter()
    masking.remember(VALUE)
    late = MaskingFilter()
    for one in (early, late):
        record = logging.LogRecord("n", logging.INFO, "p", 1, VALUE, (), None)
        one.filter(record)
        assert record.getMessage() == MASK
    assert mask(VALUE) == MASK


def test_masks_nested_containers_at_any_depth(masker):
    """CVE-2024-45784, CVE-2025-66388 and after: what lay deeper than five levels, or in a tuple, was shown."""
    for depth in (1, 5, 6, 40, 300):
        nested = VALUE
        for level in range(depth):
            nested = [[nested], {"k": nested}, (nested,)][level % 3]
        assert "hunter" not in repr(mask(nested, masker=masker))
    shapes = [
        {VALUE: 1},
        {"a": {VALUE}},
        frozenset({VALUE}),
        Pair("u", VALUE),
        OrderedDict(a=VALUE),
        [bytearray(VALUE.encode())],
        Settings(VALUE),
        [Client(), Silent()],
    ]
    for shape in shapes:
        assert "hunter" not in repr(mask(shape, masker=masker))
        assert "hunter" not in str(mask(shape, masker=masker))
    assert mask(Pair("u", VALUE), masker=masker) == Pair("u", MASK)


def test_containers_that_hold_themselves_end(masker):
    ring = [VALUE]
    ring.append(ring)
    around = {"ring": ring}
    ring.append(around)
    assert "hunter" not in repr(mask(around, masker=masker))


def test_what_holds_no_value_is_the_same_object(masker):
    for thing in ("text", b"bytes", {"a": [1, (2.0, None)]}, [{"b"}], object(), 17, Pair("u", "p")):
        assert mask(thing, masker=masker) is thing


def test_what_cannot_be_shown_is_not_shown(masker, log):
    assert mask([Broken()], masker=masker) == ["<Broken that cannot be shown>"]
    log.error("token %s", Broken())
    log.error(Broken())
    assert "hunter" not in log.shown()


class Gone(collections.abc.Mapping):
    """Cannot be searched, as a mapping that another thread changes meanwhile."""

    def __getitem__(self, key):
        raise RuntimeError("gone")

    def __iter__(self):
        return iter(["key"])

    def __len__(self):
        return 1


class Lazy:
    """As Django's `SimpleLazyObject` whose database is down: `isinstance` asks for its class."""

    @property
    def __class__(self):
        raise RuntimeError("the database is down")


class Unpacked(Pair):
    __slots__ = ()

    def __new__(cls, both):
        return super().__new__(cls, *both)


@pytest.mark.parametrize("kind", [Gone, Lazy], ids=["mapping", "lazy"])
def test_what_cannot_be_searched_raises_nothing_in_the_code_that_logs(log, kind):
    thing = kind()
    log.warning("about %s and %s", VALUE, thing)
    log.warning("more", extra={"more": thing})
    try:
        int("a traceback with the thing among its local variables")
    except ValueError:
        log.exception("failed")

    assert f"about {MASK} and <{kind.__name__} that cannot be shown>" in log.shown()
    assert "more" in log.shown()
    assert "ValueError: invalid literal" in log.shown()


def test_a_named_tuple_with_arguments_of_its_own_is_masked(masker):
    masked = mask(Unpacked((VALUE, 1)), masker=masker)

    assert type(masked) is Unpacked
    assert masked == (MASK, 1)


def test_what_is_in_many_lists_is_searched_once(masker):
    class Counted(list):
        searched = 0

        def __iter__(self):
            Counted.searched += 1
            return super().__iter__()

    shared = lists = Counted([VALUE])
    for _ in range(12):
        lists = [lists, lists]

    masked = mask(lists, masker=masker)

    assert Counted.searched == 1
    for _ in range(12):
        masked = masked[1]
    assert masked == [MASK]
    assert shared == [VALUE]


def test_a_mapping_as_message_stays_one_for_formatters_that_read_it(log):
    seen = []
    log.handler.format = lambda record: seen.append(record.msg) or ""

    log.warning({"event": "log in", "token": VALUE, "port": 80})

    assert seen == [{"event": "log in", "token": MASK, "port": 80}]


def logged_exception(masker, error):
    record = logging.LogRecord(
        "n", logging.ERROR, "p", 1, "failed", None, (type(error), error, error.__traceback__)
    )
    MaskingFilter(masker).filter(record)
    return record


def test_leaves_no_group_to_handlers_that_would_show_the_locals_of_its_members(masker):
    def fails():
        token = VALUE  # noqa: F841  # a traceback with local variables would show it
        raise ValueError("a member")

    try:
        fails()
    except ValueError as error:
        member = error
    record = logged_exception(masker, ExceptionGroup("all", [ExceptionGroup("some", [member])]))

    assert record.exc_info is None
    assert "ValueError: a member" in record.exc_text


@pytest.mark.parametrize(("items", "kept"), [(3, True), (40, False)])
def test_many_local_variables_are_not_searched_one_by_one(masker, monkeypatch, items, kept):
    """An error that is logged must not take minutes; the handlers get the traceback's text alone."""
    shown = []

    class Thing:
        def __repr__(self):
            shown.append(self)
            return "a thing"

    def fails():
        rows = [[Thing(), Thing()] for _ in range(items)]  # noqa: F841  # as it is among the local variables
        raise ValueError("in the middle of them")

    monkeypatch.setattr("strongroom.masking.log_filter._MOST_ITEMS", 30)
    try:
        fails()
    except ValueError as error:
        record = logged_exception(masker, error.with_traceback(error.__traceback__.tb_next))

    assert (record.exc_info is not None) == kept
    assert (len(shown) > 0) == kept
    if not kept:
        assert record.exc_text.endswith("ValueError: in the middle of them")


def test_leaves_no_exception_to_handlers_that_would_show_its_arguments(masker):
    class Guarded(Exception):
        def __str__(self):
            return "refused"

    record = logged_exception(masker, Guarded(VALUE))

    assert record.exc_info is None
    assert record.exc_text.endswith("Guarded: refused")


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (f"{VALUE} %d", ("no number",)),
        ("%d", (VALUE,)),
        ("%s %s", (VALUE,)),
        ("none", (VALUE,)),
        ("%d", (Client(),)),
    ],
)
def test_a_wrong_format_shows_nothing(log, message, args, capsys):
    """CVE-2022-27949 and after: an error on the way to the log showed message and arguments as they were."""
    log.error(message, *args)
    captured = capsys.readouterr()
    assert "hunter" not in log.shown() + captured.out + captured.err
    assert log.shown()


def test_masks_tracebacks_with_all_that_led_to_them(log):
    try:
        try:
            raise KeyError(VALUE)  # noqa: TRY301  # what is tested
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError(VALUE), Exception(Client())]) from error
    except ExceptionGroup:
        log.exception("failed")
    assert "hunter" not in log.shown()
    assert log.shown().count(MASK) >= 3


def test_leaves_no_exception_to_handlers_that_would_show_its_locals(masker):
    """rich's handler formats the local variables by itself."""
    record = None

    def fail():
        password = VALUE
        raise ValueError(len(password))

    try:
        fail()
    except ValueError as error:
        record = logging.LogRecord(
            "n", logging.INFO, "p", 1, "m", (), (ValueError, error, error.__traceback__)
        )
    MaskingFilter(masker).filter(record)
    assert record.exc_info is None
    assert "ValueError: 15" in record.exc_text


def test_keeps_exceptions_that_hold_no_value(log, masker):
    record = logging.LogRecord("n", logging.INFO, "p", 1, "m", (), (ValueError, ValueError("harmless"), None))
    MaskingFilter(masker).filter(record)
    assert record.exc_info[0] is ValueError


def test_another_handler_cannot_show_what_was_formatted_before(masker):
    """An exception's text is kept in the record by whoever formats it first."""
    record = logging.LogRecord("n", logging.INFO, "p", 1, "m", (), (ValueError, ValueError(VALUE), None))
    logging.Formatter().format(record)
    MaskingFilter(masker).filter(record)
    assert "hunter" not in logging.Formatter().format(record)


def test_masks_further_attributes(log):
    log.handler.setFormatter(logging.Formatter("%(message)s %(user)s %(request)s"))
    log.error("m", extra={"user": VALUE, "request": {"headers": [("auth", VALUE)]}}, stack_info=True)
    assert "hunter" not in log.shown()


def test_a_filter_without_values_changes_nothing():
    record = logging.LogRecord("n", logging.INFO, "p", 1, "%s", (VALUE,), None)
    assert MaskingFilter(Masker()).filter(record)
    assert (record.msg, record.args) == ("%s", (VALUE,))


def test_all_who_ask_a_registry_for_its_values_are_told():
    first, second = [], []
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}}}}
    ) as registry:
        registry.observe_values(first.append)
        registry.set_secret("before", "value-one")
        registry.observe_values(second.append)
        registry.observe_values(second.append)
        registry.set_secret("between", "value-two")
        registry.stop_observing_values(first.append)
        registry.set_secret("after", "value-three")

    assert (first, second) == (["value-one", "value-two"], ["value-two", "value-three"])


@pytest.mark.parametrize("hooked", [False, True])
def test_a_registry_tells_what_is_read_and_only_when_asked(plain, hooked):
    registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
    registry.register("early", plain({"one": "value-one", "batch": "value-batch"}), prefix="")
    registry.get_secret("one")
    assert not masking_logs.known
    if hooked:
        from strongroom.hooks import SecretHook

        registry.add_hook(SecretHook())
    seen = []
    registry.observe_values(seen.append)
    registry.register("late", plain({"x/json": json.dumps({"p": "inner-value"})}), prefix="x/")
    registry.get_secret("one")
    registry.get_secrets(["batch"])
    registry.get_field("x/json", "p")
    assert seen == ["value-one", "value-batch", '{"p": "inner-value"}']


PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
from strongroom import masking
from strongroom.registry import SecretProviderRegistry
class Store:
    def get_secret(self, key): return "hunter22-geheim"
    set_secret = delete_secret = list_secrets = None
Store.set_secret = Store.delete_secret = Store.list_secrets = lambda self, *a: None
registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
registry.register("store", Store(), prefix="")
masking.install(registry)
value = registry.get_secret("any")
"""


ASYNC = """
async def fail():
    raise ValueError(value)
async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "ending",
    [
        "raise ValueError(value)",
        "raise RuntimeError('around') from KeyError(value)",
        "t = threading.Thread(target=lambda: 1 / int(value)); t.start(); t.join()",
        "class D:\n def __del__(self): raise ValueError(value)\nd = D(); del d; gc.collect()",
        "logging.getLogger('any').error('token %s', value)",
        "logging.getLogger('any').warning('wrong %d', value)",
        ASYNC,
        "logging.basicConfig(); masking.install(); logging.captureWarnings(True); warnings.warn(value)",
    ],
)
def test_a_process_dies_without_telling(warm_python, ending):
    done = warm_command.run([warm_python, "-c", PROGRAM + ending])
    assert "hunter" not in done.stdout + done.stderr
    assert MASK in done.stderr


class CountingMasker(Masker):
    """Counts how often text is looked through."""

    count = 0

    def mask_text(self, text):
        self.count += 1
        return super().mask_text(text)


@pytest.mark.parametrize(
    ("template", "args", "times"),
    [
        ("request %s of %s took %d ms", ("/api/items", "alice", 7), 1),
        ("nothing to fill in", (), 1),
        ("password %.8s", ("correct-horse",), None),
        ("%s and %s", ("alice", "hex 636f72726563742d686f727365"), None),
    ],
)
def test_a_record_without_a_value_is_looked_through_once(template, args, times):
    masker = CountingMasker(["correct-horse"])
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, template, args, None)
    filtering = MaskingFilter(masker)
    filtering._clean.update(
        (name, (len(masker.finder), getattr(record, name))) for name in ("threadName", "processName")
    )
    assert filtering.filter(record)
    shown = record.getMessage()
    assert "correct" not in shown
    assert "636f72" not in shown
    if times is not None:
        assert masker.count == times
        assert shown == (template % args if args else template)
    else:
        assert "****" in shown
