"""Frozen classes of plain members, as `dataclasses` makes them, and named tuples, without what that costs.

`dataclasses` brings `inspect` along, which takes as long to import as reading an encrypted store. To others
such a class is a dataclass: `dataclasses.fields`, `asdict` and `replace` take it, and what they need is
made then.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, dataclass_transform

__all__ = ["NamedTuple", "frozen", "member", "replaced"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _NamedTuple(type):
        def __new__(cls, name: str, _: tuple[type, ...], namespace: dict[str, Any]) -> type:
            hints = namespace.get("__annotations__", {})
            defaults = [namespace[one] for one in hints if one in namespace]
            tuple_class = namedtuple(name, hints, defaults=defaults, module=namespace["__module__"])  # noqa: PYI024  # which is the slow one
            tuple_class.__annotations__ = hints
            for attribute, value in namespace.items():
                if attribute not in {"__module__", "__annotations__", "__qualname__", *hints}:
                    setattr(tuple_class, attribute, value)
            return tuple_class

    class _Entry:
        def __mro_entries__(self, _: tuple[type, ...]) -> tuple[type, ...]:
            return (type.__new__(_NamedTuple, "NamedTuple", (), {}),)

    NamedTuple = _Entry()
    """The one of `typing` calls the compiler, whose first call takes as long as ten imports."""

T = TypeVar("T")
_MISSING: Any = object()


class _Member:
    __slots__ = ("converter", "default", "factory", "shown")

    def __init__(
        self,
        default: Any,
        factory: Callable[[], Any] | None,
        shown: bool,
        converter: Callable[[Any], Any] | None = None,
    ) -> None:
        self.default, self.factory, self.shown, self.converter = default, factory, shown, converter


def member(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | None = None,
    shown: bool = True,
    converter: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare a member with a default, one that `repr` leaves out, or that holds what `converter` returns."""
    return _Member(default, default_factory, shown, converter)


@dataclass_transform(frozen_default=True, field_specifiers=(member,))
def frozen(cls: type[T]) -> type[T]:
    """Make `cls` a class with slots whose annotated names are its members, set once and compared by value."""
    namespace = dict(vars(cls))
    members: dict[str, _Member] = {}
    for name in namespace.get("__annotations__", {}):
        default = namespace.pop(name, _MISSING)
        members[name] = default if isinstance(default, _Member) else _Member(default, None, True)
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    namespace |= {"__slots__": (*members,), "__match_args__": (*members,)}
    namespace.setdefault("__repr__", _repr_of([name for name, one in members.items() if one.shown]))
    namespace["__dataclass_fields__"] = _Fields(members)
    namespace |= {
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__getstate__": _state,
        "__setstate__": _set_state,
    }
    rebuilt: Any = type(cls.__name__, cls.__bases__, namespace)
    rebuilt.__qualname__ = cls.__qualname__
    for name, source in (("__init__", _init_source), ("__eq__", _eq_source), ("__hash__", _hash_source)):
        setattr(rebuilt, name, _CompiledAtUse(rebuilt, name, members, source))
    return rebuilt  # type: ignore[no-any-return]  # `cls` again, with slots


class _CompiledAtUse:
    """Stands for a method of a class until its first use, which replaces it by the compiled function.

    Compiling the methods of one class takes as long as importing three modules, and a call that reads one
    secret uses few of the classes that it imports.
    """

    def __init__(
        self, owner: Any, name: str, members: dict[str, _Member], source: Callable[[dict[str, _Member]], str]
    ) -> None:
        self._owner, self._name, self._members, self._source = owner, name, members, source

    def __get__(self, instance: object, owner: type) -> Any:
        known: dict[str, Any] = {"_put": object.__setattr__, "_missing": _MISSING, "_given": self._members}
        exec(self._source(self._members), known)  # noqa: S102  # as dataclasses do: names of members alone
        function = known[self._name]
        function.__qualname__ = f"{self._owner.__qualname__}.{self._name}"
        function.__module__ = self._owner.__module__
        setattr(self._owner, self._name, function)
        return function if instance is None else function.__get__(instance, owner)


def replaced(thing: T, **changes: Any) -> T:
    """Return a copy of `thing`, an object of a frozen class, with some members changed."""
    made: Any = type(thing)
    members = {name: getattr(thing, name) for name in made.__match_args__}
    return cast("T", made(**(members | changes)))


# These methods are compiled for each class by itself, since they are on fast paths.


def _init_source(members: dict[str, _Member]) -> str:
    parameters, lines = ["self"], []
    for name, member in members.items():
        if member.factory is not None:
            parameters.append(f"{name}=_missing")
            lines.append(f"    if {name} is _missing: {name} = _given[{name!r}].factory()")
        elif member.default is not _MISSING:
            parameters.append(f"{name}=_given[{name!r}].default")
        else:
            parameters.append(name)
        value = name if member.converter is None else f"_given[{name!r}].converter({name})"
        lines.append(f"    _put(self, {name!r}, {value})")
    return "\n".join([f"def __init__({', '.join(parameters)}):", *(lines or ["    pass"])])


def _eq_source(members: dict[str, _Member]) -> str:
    theirs = "".join(f"other.{name}, " for name in members)
    return "\n".join([
        "def __eq__(self, other):",
        "    if other.__class__ is not self.__class__:",
        "        return NotImplemented",
        f"    return ({_mine(members)}) == ({theirs})",
    ])  # fmt: skip


def _hash_source(members: dict[str, _Member]) -> str:
    return f"def __hash__(self):\n    return hash(({_mine(members)}))"


def _mine(members: dict[str, _Member]) -> str:
    return "".join(f"self.{name}, " for name in members)


def _repr_of(shown: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807  # it becomes that of a class
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({arguments})"

    return __repr__


def _refuse(self: Any, name: str, value: object = None) -> NoReturn:
    from dataclasses import FrozenInstanceError

    del value
    raise FrozenInstanceError(f"cannot assign to {type(self).__name__}.{name}, which is frozen")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in type(self).__match_args__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(type(self).__match_args__, state, strict=True):
        object.__setattr__(self, name, value)


class _Fields:
    """The fields that `dataclasses` looks for in a class, made at the first look."""

    def __init__(self, members: dict[str, _Member]) -> None:
        self._members = members
        self._made: Any = None

    def __get__(self, instance: object, owner: type) -> Any:
        if self._made is None:
            import dataclasses

            fields: list[Any] = []
            hints = owner.__annotations__
            for name, member in self._members.items():
                more: dict[str, Any] = {"repr": member.shown}
                if member.factory is not None:
                    more["default_factory"] = member.factory
                elif member.default is not _MISSING:
                    more["default"] = member.default
                fields.append((name, hints[name], dataclasses.field(**more)))
            shadow = dataclasses.make_dataclass(owner.__name__, fields, frozen=True)
            self._made = vars(shadow)["__dataclass_fields__"]
        return self._made
