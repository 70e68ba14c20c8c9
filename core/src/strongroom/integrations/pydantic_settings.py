"""A source for pydantic-settings: the values of any `BaseSettings` from strongroom.

A field gets the declared secret (`secrets:` of the spec) whose name its environment variable would have:
aliases, `env_prefix`, `case_sensitive` and `env_nested_delimiter` mean what they mean for variables. If no
such secret is declared, that name is the key.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, get_args, get_origin

from strongroom.errors import ValidationError
from strongroom.integrations.hosts import MissingHostError
from strongroom.parallel import BuildLock
from strongroom.pipeline import read_many
from strongroom.runtime.pickling import ProcessBound

try:
    from pydantic import AliasPath, BaseModel, GetCoreSchemaHandler
    from pydantic.fields import FieldInfo
    from pydantic_core import core_schema
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError
    from pydantic_settings.sources.types import EnvNoneType
except ModuleNotFoundError as _error:
    raise MissingHostError("pydantic_settings", "pydantic-settings") from _error

if TYPE_CHECKING:
    from strongroom.providers import SecretProvider

__all__ = ["LazySecret", "StrongroomSettingsSource", "reload"]

_MASK = "**********"


class LazySecret(ProcessBound):
    """A secret that is read each time it is asked for: as the type of a field, it is never out of date.

    So is a member of a nested model that has a secret of its own; a member of a JSON secret is read once.

    Give the registry a `caching` middleware to limit how often the backend is asked.
    """

    __slots__ = ("_given", "_read")

    _why_not_pickled = (
        "reads through a registry, and cannot be pickled: make the settings in the other process"
    )

    def __init__(self, value: str | Callable[[], str]) -> None:
        self._given = None if callable(value) else value
        self._read = value if callable(value) else lambda: value

    def get_secret_value(self) -> str:
        """Return the value as it is now.

        Raises:
            StrongroomError: It is missing, refused or out of reach.
        """
        return self._read()

    def __copy__(self) -> Self:
        return self  # a copy would have the same state

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"LazySecret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        of_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=of_text,
            python_schema=core_schema.no_info_before_validator_function(
                _live, core_schema.union_schema([core_schema.is_instance_schema(cls), of_text])
            ),
            serialization=core_schema.to_string_ser_schema(),
        )


class StrongroomSettingsSource(EnvSettingsSource):
    """Reads the fields of a settings class, in one batch, when an instance is made.

    Missing secrets are left to the other sources and to pydantic, which reports what is missing. Values from
    this source are masked in pydantic's error messages.

    Args:
        settings_cls: The settings class.
        registry: Any provider; without one, the registry of `spec`.
        spec: See `SecretProviderRegistry`.
        profile: See `SecretProviderRegistry`.
        keys: Keys by the name of a field or of its variable, for fields without a declared secret.
        options: The options of `EnvSettingsSource`, such as `env_prefix`, `case_sensitive`,
            `env_nested_delimiter`.

    Raises:
        StrongroomError: The backend refuses or is unavailable, or a value breaks the rules of its
            declaration. That is never reported as missing.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        registry: SecretProvider | None = None,
        *,
        spec: Any = None,
        profile: str | None = None,
        keys: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(settings_cls, **options)
        self._registry = registry
        self._spec, self._profile = spec, profile
        self._keys = self._keys_by_variable(keys or {})
        self._opening = BuildLock()

    def __call__(self) -> dict[str, Any]:
        self.env_vars = self._values(self._names())
        problem = None
        try:
            return {name: _masked(value) for name, value in super().__call__().items()}
        except SettingsError as error:
            problem = str(error)
        finally:
            self.env_vars = {}
        raise SettingsError(problem)  # raised here, since the cause of the original holds the value

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if not _is_lazy(field):
            return super().get_field_value(field, field_name)
        # It is not read yet, so it is not known whether it exists: if it may, this source provides it.
        fields = self._extract_field_info(field, field_name)
        possible = {name: key for key, name, _ in fields if self._may_have(name)}
        if not possible:
            return None, fields[0][0], False
        return LazySecret(partial(self._read_one, *possible)), next(iter(possible.values())), False

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        if isinstance(value, LazySecret):
            return value
        return super().prepare_field_value(field_name, field, value, value_is_complex)

    def __repr__(self) -> str:
        return f"StrongroomSettingsSource({self._registry!r})"

    # --- names: those that variables would have, folded as `case_sensitive` says ---

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {}  # the parent reads as it is made

    def _folded(self, name: str) -> str:
        return name if self.case_sensitive else name.lower()

    def _keys_by_variable(self, keys: Mapping[str, str]) -> dict[str, str]:
        by_name = {self._folded(name): key for name, key in keys.items()}
        variables = {
            self._folded(field_name): [name for _, name, _ in self._extract_field_info(field, field_name)]
            for field_name, field in self.settings_cls.model_fields.items()
        }
        of_fields = variables.keys() - {*chain(*variables.values())}  # a name that is both is a variable's
        by_field = {
            variable: by_name[name] for name in of_fields & by_name.keys() for variable in variables[name]
        }
        return {**by_field, **by_name}

    def _names(self) -> tuple[set[str], tuple[str, ...]]:
        """Return the names of the fields to read now, and the prefixes of the names of their members."""
        names: set[str] = set()
        for field_name, field in self.settings_cls.model_fields.items():
            fields = self._extract_field_info(field, field_name)
            given = [self.current_state.get(key) for key in (field_name, *(key for key, _, _ in fields))]
            settled = any(value is not None and not isinstance(value, dict) for value in given)
            if not settled and not _is_lazy(field):  # settled: a source before this one has it
                names.update(name for _, name, _ in fields)
        delimiter = self.env_nested_delimiter
        return names, tuple(f"{name}{delimiter}" for name in names) if delimiter else ()

    def _declared(self) -> dict[str, str]:
        """Return the declared names by their folded form; none if the registry is another provider."""
        plan = getattr(self._open(), "plan", None)
        return {self._folded(name): name for name in plan.secrets} if plan is not None else {}

    def _may_have(self, name: str) -> bool:
        declared = self._declared()
        return name in self._keys or name in declared or not declared

    # --- values ---

    def _values(self, wanted: tuple[set[str], tuple[str, ...]]) -> dict[str, str | None]:
        names, prefixes = wanted
        if not names:
            return {}
        declared = self._declared()
        asked = [name for name in (*self._keys, *declared) if name in names or name.startswith(prefixes)]
        if not declared:
            asked += sorted((names | self._member_names(names)) - set(asked))
        found = self._read(dict.fromkeys(asked), declared)
        return {
            name: self._text(name, text) for name, text in found.items() if text or not self.env_ignore_empty
        }

    def _text(self, name: str, text: str) -> str:
        if self.env_parse_none_str is not None and text == self.env_parse_none_str:
            return EnvNoneType(text)
        return _Masked.read_by(text, partial(self._read_one, name))

    def _member_names(self, names: set[str]) -> set[str]:
        """Return the names of the members of nested models: keys that nothing declares cannot be searched."""
        delimiter = self.env_nested_delimiter
        members: set[str] = set()
        for field_name, field in self.settings_cls.model_fields.items() if delimiter else ():
            inner = {*_members(field.annotation, str(delimiter))}
            for _, name, _ in self._extract_field_info(field, field_name):
                if name in names:
                    members.update(f"{name}{delimiter}{self._folded(member)}" for member in inner)
        return members

    def _read(self, names: Iterable[str], declared: Mapping[str, str]) -> dict[str, str]:
        """Return the texts of those of `names` that exist."""
        registry: Any = self._open()
        values: dict[str, str] = {}
        keys = {name: self._candidates(name) for name in names if name in self._keys or name not in declared}
        if keys:
            texts = read_many(registry, list(dict.fromkeys(key for some in keys.values() for key in some)))
            for name, some in keys.items():
                present = [texts[key] for key in some if key in texts]
                if present:
                    values[name] = present[0]
        chosen = {declared[name]: name for name in names if name not in keys}
        if chosen:
            values |= _resolved(registry, chosen)
        return values

    def _read_one(self, *names: str) -> str:
        """Return the text of the first of `names` that exists."""
        found = self._read(names, self._declared())
        for name in names:
            if name in found:
                return found[name]
        raise ValidationError(f"the secret of the setting {' or '.join(map(repr, names))} is missing")

    def _candidates(self, name: str) -> list[str]:
        if name in self._keys:
            return [self._keys[name]]
        return [name] if self.case_sensitive or name == name.upper() else [name, name.upper()]

    def _open(self) -> SecretProvider:
        with self._opening.held():
            if self._registry is None:
                from strongroom.registry import SecretProviderRegistry

                registry = SecretProviderRegistry(self._spec, profile=self._profile)
                weakref.finalize(self, registry.close)  # lazy fields keep this source, and so the registry
                self._registry = registry
            return self._registry


def reload(settings: BaseSettings, **given: Any) -> frozenset[str]:
    """Read `settings` again from all of its sources, in place; return the names of the fields that changed.

    Everyone who holds the object sees the new values, all at once; its private attributes are computed again.
    If reading or validation fails, the error is raised and the old values stay.

    Args:
        settings: The object.
        given: The arguments that it was made with, such as `_env_file` or values of fields.
    """
    fresh = type(settings)(**given)
    newer, older = ({**one.__dict__, **(one.__pydantic_extra__ or {})} for one in (fresh, settings))
    changed = {name for name, value in newer.items() if _revealed(value) != _revealed(older.get(name))}
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
        object.__setattr__(settings, slot, getattr(fresh, slot))  # frozen models too
    return frozenset(changed)


def _revealed(value: Any) -> Any:
    """Return what is compared of a value: nothing of a lazy secret, wherever it is, unless it was given."""
    if isinstance(value, LazySecret):
        return LazySecret, value._given  # noqa: SLF001  # of this module
    if isinstance(value, BaseModel):
        return type(value), _revealed({**value.__dict__, **(value.__pydantic_extra__ or {})})
    if isinstance(value, dict):
        return {name: _revealed(one) for name, one in value.items()}
    return [type(value), *map(_revealed, value)] if isinstance(value, list | tuple) else value


def _resolved(registry: Any, chosen: Mapping[str, str]) -> dict[str, str]:
    from strongroom.declarations.resolve import resolve_all

    resolutions = resolve_all(registry, {name: registry.plan.secrets[name] for name in chosen})
    for one in resolutions.values():
        if one.error is not None and (one.status not in {"ok", "missing"} or one.is_gone):
            raise one.error  # the field's default is for an absent secret, not for a deleted one
    wrong = [f"{name}: {one.problem}" for name, one in resolutions.items() if one.status == "invalid"]
    if wrong:
        raise ValidationError(f"{len(wrong)} declared secrets are wrong: {'; '.join(wrong)}")
    return {chosen[name]: one.text for name, one in resolutions.items() if one.text is not None}


def _members(annotation: Any, delimiter: str, above: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the names of all members of the models in a type, however deep, such as `host` and `tls__key`."""
    for model in _alternatives(annotation):
        fields = {} if model in above else getattr(model, "__pydantic_fields__", {})
        for field_name, field in fields.items():
            inner = list(_members(field.annotation, delimiter, (*above, model)))
            for name in {field_name, *(one for one in _aliases(field) if isinstance(one, str))}:
                yield name
                yield from (f"{name}{delimiter}{member}" for member in inner)


def _aliases(field: FieldInfo) -> list[Any]:
    return list(getattr(field.validation_alias, "choices", [field.validation_alias]))


def _is_lazy(field: FieldInfo) -> bool:
    """Return whether a field is read when its value is asked for; a part of a JSON secret is not."""
    if any(isinstance(one, AliasPath) for one in _aliases(field)):
        return False
    return any(one is LazySecret for one in _alternatives(field.annotation))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value of this type may have itself, and not only hold, as a list does."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(inside[0])
    elif origin in {Union, UnionType}:
        for one in inside:
            yield from _alternatives(one)
    else:
        yield annotation


class _Masked(str):
    """Text that pydantic does not show in its messages; a field of type `str` gets plain text from it.

    Attributes:
        read: Reads it again, for a lazy secret inside a nested model; None for a part of a JSON secret.
    """

    __slots__ = ("read",)

    read: Callable[[], str] | None

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.read = None
        return made

    @classmethod
    def read_by(cls, text: str, read: Callable[[], str]) -> Self:
        """Return the text of a whole secret."""
        made = cls(text)
        made.read = read
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self),)  # what reads it belongs to this process

    def __repr__(self) -> str:
        return repr(_MASK)


class _MaskedInt(int):
    """A number of a JSON secret, such as a PIN, that pydantic does not show either."""

    __str__ = int.__repr__  # with this, fields of text and decimals are filled

    def __repr__(self) -> str:
        return repr(_MASK)


class _MaskedFloat(float):
    """The same for a number that is not whole."""

    __str__ = float.__repr__

    def __repr__(self) -> str:
        return repr(_MASK)


def _live(value: Any) -> Any:
    read = value.read if isinstance(value, _Masked) else None
    return value if read is None else LazySecret(read)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, _Masked) else _Masked(value)
    if type(value) is int:
        return _MaskedInt(value)
    if type(value) is float:
        return _MaskedFloat(value)
    if isinstance(value, dict):
        return {name: _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list) else value
