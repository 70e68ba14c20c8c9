"""`strongroom render`: a template with secrets filled in.

It does without click; `commands/render.py` has the options.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Literal

from strongroom.cli import errors, output
from strongroom.cli.standard_streams import read_stdin
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry


__all__ = ["render", "render_file"]

# What Jinja2 knows by itself.
_JINJA_NAMES = frozenset(
    {"secret", "range", "dict", "lipsum", "cycler", "joiner", "namespace"}
    | {"true", "false", "none", "True", "False", "None"}
)
_STDOUT = frozenset({"-", "/dev/stdout"})


def render_file(settings: GlobalOptions, *, template: str, target: str | None = None) -> None:
    """Fill in the file `template`, and write it to `target`, by default to stdout.

    With `--json`, stdout gets an object with the text, or with the name of the file that has it.
    """
    text = _source(template)
    to_stdout = target is None or target in _STDOUT
    with settings.registry() as registry:
        if target is not None and not to_stdout:
            _refuse_own_files(registry, target, template)
        rendered = render(text, template, registry)
        settings.warn_of_leases(registry)
    if target is not None and not to_stdout:
        from pathlib import Path

        _write(Path(target), rendered.encode())
    if settings.json:
        output.as_json({"template": template, **({"text": rendered} if to_stdout else {"file": target})})
    elif to_stdout:
        output.raw(rendered.encode())


def _refuse_own_files(registry: SecretProviderRegistry, target: str, template: str) -> None:
    """Refuse to replace the template, or what the spec needs, before a secret is read."""
    from pathlib import Path

    from strongroom.cli.overwrite import is_same, refuse_own_files, refuse_store

    if is_same(Path(target), template):
        raise errors.UsageError(f"{target} is the template itself", hint="name another file")

    refuse_own_files(registry.plan, Path(target), "render")
    refuse_store(Path(target), "render")


def _write(target: Path, data: bytes) -> None:
    """Replace an ordinary file in one step; write into anything else, such as a device or pipe.

    Raises:
        UsageError: It is a folder or a symbolic link, or something is mounted on it.
        OSError: It cannot be written; the error names it.
    """
    is_descriptor = str(target).startswith(("/dev/", "/proc/")) and target.is_symlink()
    if is_descriptor or (target.exists() and not target.is_file() and not target.is_dir()):
        try:
            with target.open("ab") as stream:  # a device, a pipe
                stream.write(data)
        except OSError as error:
            error.filename = str(target)
            raise
        return
    if target.is_dir():
        raise errors.UsageError(f"{target} is a folder", hint="name a file in it")
    if target.is_symlink():
        raise errors.UsageError(f"{target} is a symbolic link", hint="name the file that it points to")
    from strongroom.paths.atomic_write import write_atomically

    busy = False
    try:
        write_atomically(target, data)
    except OSError as error:
        busy = error.errno == errno.EBUSY
        if not busy:
            raise
    if busy:  # a container's file that was mounted by itself
        raise errors.UsageError(
            f"{target} cannot be replaced: something is mounted on it",
            hint=f"leave out -o, and redirect: `strongroom render … > {target}`",
        )


def render(text: str, name: str, registry: SecretProviderRegistry) -> str:
    """Return `text` with secrets filled in.

    Raises:
        ConfigurationError: Jinja2 is needed, and is not installed.
        UsageError: It is not a template, or uses an unknown name; its lines are not quoted.
    """
    plain = _plainly(text, name, registry)
    if plain is not None:
        return plain
    from strongroom.templating import environment

    line_end: Literal["\n", "\r\n"] = "\r\n" if 0 < text.count("\n") == text.count("\r\n") else "\n"
    templates = environment(line_end)  # before the import below, since its error says what to install
    from jinja2 import TemplateError

    def secret(key: str, field: str | None = None) -> str:
        return registry.get_secret(key) if field is None else registry.get_field(key, field)

    try:
        made = templates.from_string(text, globals={"secret": secret})
        declared = _needed(registry, text)
        return made.render(declared)
    except StrongroomError:
        raise
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        problem = f"{name}{f':{line}' if line else ''}: {type(error).__name__}: {_message_of(error, text)}"
    except Exception as error:  # noqa: BLE001  # an expression of the template; its message may hold a value
        problem = f"{name}: {type(error).__name__} while it was rendered"
    raise errors.UsageError(problem)


def _plainly(text: str, name: str, registry: SecretProviderRegistry) -> str | None:
    """Render a template that consists of text and declared names, without Jinja2; return None for any other.

    Raises:
        UsageError: One is not declared.
    """
    from strongroom.templating import as_written, plain_parts

    parts = plain_parts(text)
    if parts is None:
        return None
    declared = registry.plan.secrets
    names = {part[0] for part in parts if isinstance(part, tuple)}
    if names & _JINJA_NAMES - declared.keys():
        return None
    for unknown in sorted(names - declared.keys()):
        from strongroom.plugins import did_you_mean

        line = next((at for at, one in enumerate(text.split("\n"), 1) if unknown in one), 1)
        raise errors.UsageError(
            f"{name}:{line}: {unknown!r} is undefined: no secret of this name is declared",
            hint=did_you_mean(unknown, declared, otherwise="add it under `secrets:`"),
        )
    from strongroom.cli.declared.selection import read_all
    from strongroom.declarations.compose import template_value

    resolutions = read_all(registry, {name: plan for name, plan in declared.items() if name in names})
    values = {name: template_value(one) for name, one in resolutions.items()}
    return "".join(as_written(values[part[0]]) if isinstance(part, tuple) else part for part in parts)


def _message_of(error: Exception, text: str) -> str:
    from jinja2 import TemplateSyntaxError, UndefinedError

    message = str(error.args[0]) if error.args else ""
    if isinstance(error, TemplateSyntaxError):
        return message or "refused"
    if isinstance(error, UndefinedError):
        # The name of a member may be a secret's value: `{{ settings[secret("stage")] }}`.
        of, member, name = message.partition(" has no ")
        if not member or name.partition(" ")[2].strip("'\"") in text:
            return message
        return f"{of} has no member of a name that was filled in"
    return "refused"  # the message may hold a value


def _needed(registry: SecretProviderRegistry, text: str) -> dict[str, Any]:
    """Return the declared secrets that the template names, and read no others."""
    from jinja2 import meta

    from strongroom.cli.declared.selection import read_all
    from strongroom.declarations.compose import template_value
    from strongroom.templating import environment

    names = meta.find_undeclared_variables(environment().parse(text))
    chosen = {name: plan for name, plan in registry.plan.secrets.items() if name in names}
    return {name: template_value(found) for name, found in read_all(registry, chosen).items()}


def _source(template: str) -> str:
    if template == "-":
        data = read_stdin()
    else:
        with open(template, "rb") as file:  # noqa: PTH123  # pathlib takes long to import
            data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass  # raised below, without the bytes in its context
    raise errors.UsageError(f"{template} is not UTF-8 text")
