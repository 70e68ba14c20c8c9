"""The frame of a spec as pydantic models; the options of components are their plugins' own models."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
)

from strongroom.plugins.distributions import start_pydantic
from strongroom.spec.document import Node, node_of

__all__ = ["Component", "Fallback", "Generate", "Generator", "Pipeline", "Rotate", "Route", "Secret", "Spec"]

start_pydantic()

PIPELINE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,254}$"
SecretType = Literal["string", "integer", "boolean", "url", "email", "port", "json", "base64", "pem"]


def _scalar_text(value: object) -> object:
    # `default: 5432` reads naturally and can mean only one text.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


ScalarText = Annotated[
    str, BeforeValidator(_scalar_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


class Section(dict[str, Any]):
    """A part of a spec that is checked elsewhere; `repr` shows names alone, for the rest may be tokens."""

    def __repr__(self) -> str:
        return f"<{', '.join(map(str, self))}>"


def _section(value: Any) -> Any:
    """Return `value` with all mappings in it made sections."""
    if isinstance(value, dict):
        return Section((name, _section(one)) for name, one in value.items())
    return [_section(one) for one in value] if isinstance(value, list) else value


PipelineName = Annotated[str, Field(pattern=PIPELINE_NAME)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True, defer_build=True)


class Component(_Model):
    """A provider, middleware or hook: its type, and the options of that type's plugin."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, strict=True, defer_build=True)

    type: str = Field(min_length=1, max_length=128, description="The type name of the component.")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Return what `repr` shows: the other options may be tokens and keys."""
        return [("type", self.type)]


class Fallback(_Model):
    """Pipelines that are asked in order."""

    pipelines: list[PipelineName] = Field(
        min_length=1, description="The pipelines, in the order in which they are asked."
    )
    when: list[Literal["not_found", "unavailable"]] = Field(
        default=["not_found"],
        min_length=1,
        description="What makes a read go on to the next pipeline; never `denied`.",
    )


class Pipeline(_Model):
    """A provider with what is layered around it, or a fallback over other pipelines."""

    provider: Component | None = Field(default=None, description="Where the secrets are.")
    fallback: Fallback | None = Field(
        default=None, description="Other pipelines to ask, instead of a provider."
    )
    middleware: list[Component] = Field(
        default=[], description="Outermost first: the order in which a read passes them."
    )
    hooks: list[Component] = Field(default=[], description="Hooks that see every operation of this pipeline.")


class Route(_Model):
    """Keys that begin with `prefix` go to `pipeline`; the longest matching prefix wins."""

    prefix: str = Field(min_length=1, max_length=512, description="The beginning of the keys' text.")
    pipeline: PipelineName = Field(description="The pipeline that answers.")
    strip_prefix: bool = Field(
        default=False,
        description="Remove the prefix, which must then end with a slash, before the pipeline sees the key.",
    )


class Generate(_Model):
    """How `check --fix` makes a value that is absent."""

    length: int = Field(default=32, ge=8, le=4096, description="Length, in characters.")
    alphabet: str | None = Field(default=None, min_length=2, description="The characters to choose from.")
    require: list[str] = Field(
        default=[],
        description="Classes that must occur: lower, upper, digit, symbol, or your own characters.",
    )


class Generator(_Model):
    """What a rotation makes: a password by default."""

    type: Literal["password", "hex", "urlsafe", "uuid", "rsa", "ed25519"] = Field(
        default="password", description="What kind of value it makes; keys are PEM (PKCS #8)."
    )
    length: int | None = Field(
        default=None, ge=8, le=4096, description="Length of a password, in characters."
    )
    alphabet: str | None = Field(default=None, min_length=2, description="The characters of a password.")
    require: list[str] | None = Field(
        default=None,
        description="Classes that must be in a password: lower, upper, digit, symbol, or characters.",
    )
    count: int | None = Field(default=None, ge=16, le=4096, description="Bytes of hex or urlsafe.")
    bits: int | None = Field(default=None, ge=2048, le=16384, description="Bits of an rsa key.")


class Rotate(_Model):
    """How `strongroom rotate` gives a secret a new value."""

    command: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The program that changes the target system, and its arguments; it gets JSON on stdin.",
    )
    verify: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The program whose exit code says whether the new value works there.",
    )
    rotator: Component | None = Field(
        default=None,
        description="What changes the target system and tries the new value, instead of both programs.",
    )
    timeout_seconds: float = Field(default=60, gt=0, description="How long either program may take.")
    grace_seconds: float = Field(
        default=0, ge=0, description="How long `rotate --rollback` can restore the previous value."
    )
    jitter: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Fraction of `rotate_days` by which it may be due earlier, different for each key.",
    )
    generator: Generator | None = Field(
        default=None, description="What makes the new value; without it, `generate` does."
    )


class Secret(_Model):
    """One secret that the application needs."""

    key: str | None = Field(default=None, description="The key in the pipeline; by default the name itself.")
    required: bool = Field(
        default=True, description="Whether it must be present for the application to start."
    )
    default: ScalarText | None = Field(
        default=None, description="The value if the key is absent.", repr=False
    )
    field: str | None = Field(default=None, min_length=1, description="The member of a JSON secret.")
    description: str = Field(default="", description="What it is for.")
    type: SecretType = Field(default="string", description="The type that the value must have.")
    min_length: int | None = Field(default=None, ge=0, description="Minimum length, in characters.")
    max_length: int | None = Field(default=None, ge=0, description="Maximum length, in characters.")
    pattern: str | None = Field(
        default=None,
        description="A regular expression for the whole value (the package `regex`), tried on values of up "
        "to 65,536 characters, for a second at most.",
    )
    one_of: list[ScalarText] | None = Field(default=None, min_length=1, description="The values allowed.")
    forbid: list[ScalarText] = Field(default=[], description="Values that are refused, whatever their case.")
    allow_placeholder: bool = Field(
        default=False,
        description="Allow values such as `changeme` and `<token>`, which are otherwise refused.",
    )
    compose: str | None = Field(
        default=None,
        min_length=1,
        description="A Jinja2 template that makes the value from other declared names; then there is no key.",
    )
    generate: Generate | None = Field(
        default=None, description="`check --fix` makes and stores the value if it is absent."
    )
    rotate_days: int | None = Field(
        default=None, ge=1, description="Days after which the secret is due for rotation."
    )
    rotate: Rotate | None = Field(default=None, description="How it is rotated.")
    as_file: bool = Field(default=False, description="Hand over a 0600 file's path instead of the value.")
    mask: bool = Field(default=True, description="Mask the value in the output of `strongroom run`.")
    groups: list[str] = Field(default=[], description="Names to choose secrets by, as in `run --group web`.")
    deprecated: str | None = Field(
        default=None, min_length=1, description="What to use instead; `check` and `run` warn of it."
    )


class Spec(_Model):
    """A whole spec, as it is in the YAML."""

    @field_validator("version", mode="before")
    @classmethod
    def _is_a_number(cls, version: object) -> object:
        """Refuse `true` and `1.0`, which equal 1."""
        return version if type(version) is int else str(version)

    version: Literal[1] = Field(description="The version of this format.")
    pipelines: dict[PipelineName, Pipeline] = Field(default={}, description="The pipelines by name.")
    default: PipelineName | None = Field(
        default=None,
        description="The pipeline for keys that no route matches; not needed if there is only one.",
    )
    hooks: list[Component] = Field(
        default=[], description="Hooks that see every operation of every pipeline."
    )
    routes: list[Route] = Field(default=[], description="Which keys go to which pipeline.")
    secrets: dict[Annotated[str, Field(pattern=VARIABLE_NAME)], Secret] = Field(
        default={}, description="What the application needs, by the name of its environment variable."
    )
    placeholders: list[ScalarText] = Field(
        default=[], description="Further values that are placeholders, whatever their case."
    )
    rotation_lock: Component | None = Field(
        default=None,
        description="A cache store whose lock lets one process rotate, for backends that cannot ensure that.",
    )
    serve: Annotated[dict[str, Any] | None, AfterValidator(_section)] = Field(
        default=None, description="What `strongroom serve` offers, where, and to which clients."
    )
    profiles: Annotated[dict[str, dict[str, Any]], AfterValidator(_section)] = Field(
        default={}, description="Named changes, merged deeply over the rest when chosen."
    )

    _document: Node | None = PrivateAttr(default=None)
    _source: str = PrivateAttr(default="spec")
    _folder: str = PrivateAttr(default=".")

    def place(self, document: Node | None, source: str, folder: str) -> None:
        """Remember what the spec was read from, for positions and relative paths."""
        self._document, self._source, self._folder = document, source, folder

    @property
    def source(self) -> str:
        """The name of the file it was read from."""
        return self._source

    @property
    def folder(self) -> str:
        """The folder that paths in it are relative to."""
        return self._folder

    def document(self) -> Node:
        """Return the nodes the spec was read from; without a file, nodes without positions."""
        if self._document is None:
            self._document = node_of(self.model_dump(exclude_unset=True))
        return self._document

    def __repr__(self) -> str:
        return f"<Spec {self._source}: {len(self.pipelines)} pipelines, {len(self.secrets)} secrets>"

    __str__ = __repr__
