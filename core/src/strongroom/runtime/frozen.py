"""Frozen classes of plain members, as `dataclasses` makes them, and named tuples, without what that costs.

`dataclasses` brings `inspect` along, which takes as long to import as reading an encrypted store. To others
such a class is a dataclass: `dataclasses.fields`, `asdict` and `replace` take it, and what they need is
made then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

__all__ = ["NamedTuple", "frozen", "member", "replaced"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NamedTuple, NoReturn, TypeVar, dataclass_transform

    T = TypeVar("T")
else:
    from collections import _tuplegetter

    _new_tuple = tuple.__new__

    class _Signature:
        """What `inspect` and `help` say of the arguments, made when they ask."""

        def __get__(self, instance: object, owner: type[_Row]) -> Any:
            from inspect import Parameter, Signature

            defaults, kind = owner._field_defaults, Parameter.POSITIONAL_OR_KEYWORD
            return Signature(
                [Parameter(one, kind, default=defaults.get(one, Parameter.empty)) for one in owner._fields]
            )

    class _Row(tuple):
        """What all named tuples have: what `collections.namedtuple` gives each by itself, and compiles."""

        __slots__ = _fields = ()
        _field_defaults = {}  # noqa: RUF012  # `get_type_hints` would need `typing`
        __signature__ = _Signature()

        def __new__(cls, *values: Any, **named: Any) -> Any:
            if named or len(values) != len(cls._fields):
                values = _completed(cls, values, named)
            return _new_tuple(cls, values)

        _make = classmethod(tuple.__new__)  # as fast as a plain tuple, and as unchecked

        def _replace(self, **changes: Any) -> Any:
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no {', '.join(changes)}")
            return made

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            members = ", ".join([f"{name}={value!r}" for name, value in self._asdict().items()])
            return f"{type(self).__name__}({members})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    def _completed(cls: type[_Row], values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Return `values` and, for the other fields, what `named` or the defaults have."""
        defaults, missing = cls._field_defaults, len(cls._fields) - len(values)
        if not named and 0 < missing <= len(defaults):
            return values + (*defaults.values(),)[-missing:]
        rest = cls._fields[len(values) :]
        absent = [one for one in rest if one not in named and one not in defaults]
        more = [named.pop(one, defaults.get(one)) for one in rest]
        if absent or named or missing < 0:
            raise TypeError(
                f"{cls.__name__} takes {', '.join(cls._fields)}; missing: {absent}, unknown: {[*named]}"
            )
        return (*values, *more)

    class _NamedTuple(type):
        def __new__(cls, name: str, _: tuple[type, ...], namespace: dict[str, Any]) -> type:
            fields = (*_annotations(namespace),)
            defaults = {one: namespace[one] for one in fields if one in namespace}
            getters = {one: _tuplegetter(at, None) for at, one in enumerate(fields)}
            attributes = {
                "__slots__": (),
                "__match_args__": fields,
                "_fields": fields,
                "_field_defaults": defaults,
            }
            return type(name, (_Row,), namespace | getters | attributes)

    class _Entry:
        def __mro_entries__(self, _: tuple[type, ...]) -> tuple[type, ...]:
            return (type.__new__(_NamedTuple, "NamedTuple", (), {}),)

    def dataclass_transform(**_: Any) -> Any:
        """Return what leaves a class as it is: the one of `typing` is for type checkers."""
        return lambda decorator: decorator

    NamedTuple = _Entry()
    """That of `typing` compiles a text for each class, which takes as long as importing two modules."""

_MISSING: Any = object()
_VALUES: Final = 1
"""What a function of annotations is asked for: their values (PEP 649)."""


def _annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations of a class.

    Since Python 3.14 a class has a function that returns them, unless its module postpones them by itself.
    """
    annotate = namespace.get("__annotate_func__")
    found: dict[str, Any] = annotate(_VALUES) if annotate else namespace.get("__annotations__", {})
    return found


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

    @property
    def is_needed(self) -> bool:
        return self.default is _MISSING and self.factory is None

    def missing(self) -> Any:
        """Return what an object has if its maker gives nothing."""
        return self.default if self.factory is None else self.factory()


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
    """Make `cls` a class with slots whose annotated names are its members, set once and compared by value.

    An `__init__` of its own stays, such as one that takes members only by name.
    """
    namespace = dict(vars(cls))
    members: dict[str, _Member] = {}
    for name in _annotations(namespace):
        default = namespace.pop(name, _MISSING)
        members[name] = default if isinstance(default, _Member) else _Member(default, None, True)
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    namespace |= {"__slots__": (*members,), "__match_args__": (*members,)}
    namespace.setdefault("__repr__", _repr_of([name for name, one in members.items() if one.shown]))
    shadow = _Shadow(cls.__name__, members, namespace)
    namespace |= {
        "__dataclass_fields__": _FromShadow(shadow, "__dataclass_fields__"),
        "__dataclass_params__": _FromShadow(shadow, "__dataclass_params__"),
    }
    namespace |= {
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__getstate__": _state,
        "__setstate__": _set_state,
    }
    rebuilt: Any = type(cls.__name__, cls.__bases__, namespace)
    rebuilt.__qualname__ = cls.__qualname__
    if "__init__" not in namespace:
        rebuilt.__init__ = _CompiledLater(rebuilt, "__init__", members, _init_source)
    rebuilt.__eq__ = _CompiledAtUse(rebuilt, "__eq__", members, _eq_source)
    rebuilt.__hash__ = _CompiledAtUse(rebuilt, "__hash__", members, _hash_source)
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


class _CompiledLater(_CompiledAtUse):
    """Stands for `__init__` until the class has a few objects: most classes of a plan never have more."""

    _left = 8

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None or self._left <= 0:
            return super().__get__(instance, owner)
        self._left -= 1
        return partial(self._fill, instance)

    def _fill(self, instance: object, *values: Any, **named: Any) -> None:
        arguments = dict(zip(self._members, values, strict=False)) | named
        missing = {name: one for name, one in self._members.items() if name not in arguments}
        known = len(arguments) + len(missing) == len(self._members)
        if (
            not known
            or len(arguments) < len(values) + len(named)
            or any(one.is_needed for one in missing.values())
        ):
            super().__get__(instance, type(instance))(*values, **named)  # it says what is wrong
        for name, declared in self._members.items():
            value = arguments[name] if name in arguments else declared.missing()
            object.__setattr__(
                instance, name, value if declared.converter is None else declared.converter(value)
            )


def replaced(thing: T, **changes: Any) -> T:
    """Return a copy of `thing`, an object of a frozen class, with some members changed."""
    made: Any = type(thing)
    members = {name: getattr(thing, name) for name in made.__match_args__}
    return made(**(members | changes))  # type: ignore[no-any-return]  # of the type of `thing`


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


def _names(kind: Any) -> Iterable[str]:
    """Return the names of the members of a frozen class, or of a dataclass made from one."""
    fields = vars(kind).get("__dataclass_fields__")
    return fields if isinstance(fields, dict) else kind.__match_args__


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in _names(type(self))]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(_names(type(self)), state, strict=True):
        object.__setattr__(self, name, value)


class _Shadow:
    """The same class as `dataclasses` makes it, made at the first look."""

    def __init__(self, name: str, members: dict[str, _Member], namespace: dict[str, Any]) -> None:
        self._name, self._members = name, members
        self._hints = _annotations(namespace)
        code = getattr(namespace.get("__init__"), "__code__", None)
        self._by_name = getattr(code, "co_kwonlyargcount", 0) > 0
        self._made: Any = None

    def made(self) -> Any:
        """Return it."""
        if self._made is None:
            import dataclasses

            fields: list[Any] = []
            for name, member in self._members.items():
                more: dict[str, Any] = {"repr": member.shown}
                if member.factory is not None:
                    more["default_factory"] = member.factory
                elif member.default is not _MISSING:
                    more["default"] = member.default
                fields.append((name, self._hints[name], dataclasses.field(**more)))
            self._made = dataclasses.make_dataclass(self._name, fields, frozen=True, kw_only=self._by_name)
        return self._made


class _FromShadow:
    """What `dataclasses` looks for in a class of its own, such as a base of one."""

    def __init__(self, shadow: _Shadow, name: str) -> None:
        self._shadow, self._name = shadow, name

    def __get__(self, instance: object, owner: type) -> Any:
        return vars(self._shadow.made())[self._name]
