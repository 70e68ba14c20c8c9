"""`strongroom render`: a template with secrets filled in."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from strongroom.cli import errors, output
from strongroom.cli.app import command
from strongroom.errors import StrongroomError
from strongroom.paths.atomic_write import write_atomically

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry


_STDOUT = frozenset({"-", "/dev/stdout"})


@command("render")
@click.argument("template", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o", "--output", "target", metavar="FILE", type=click.Path(path_type=Path), help="Write FILE, 0600."
)
def render_command(settings: GlobalOptions, *, template: Path, target: Path | None) -> None:
    """Fill in TEMPLATE (Jinja2, in its sandbox): {{ secret("key", field="f") }} and the declared names.

    A name that is not declared is an error. FILE is written whole or not at all; - is stdout, and a device or
    pipe is written to.
    Jinja2 comes with the extra: pip install 'strongroom[templates]'.

    Example: strongroom render config.ini.j2 -o config.ini
    """
    text = _source(template)
    with settings.registry() as registry:
        rendered = render(text, str(template), registry)
    if target is None or str(target) in _STDOUT:
        output.raw(rendered.encode())
    else:
        _write(target, rendered.encode())


def _write(target: Path, data: bytes) -> None:
    """Put a file in its place as a whole; write into what is not an ordinary file, which nothing may replace.

    Raises:
        UsageError: It is a symbolic link, or something is mounted on it.
    """
    is_descriptor = str(target).startswith(("/dev/", "/proc/")) and target.is_symlink()
    if is_descriptor or (target.exists() and not target.is_file() and not target.is_dir()):
        with target.open("ab") as stream:  # a device, a pipe
            stream.write(data)
        return
    if target.is_symlink():
        raise errors.UsageError(f"{target} is a symbolic link", hint="name the file that it points to")
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
        ConfigurationError: Jinja2 is not installed.
        UsageError: It is not a template, or asks for what is not there; its lines are not quoted.
    """
    from strongroom.templating import environment

    line_end: Literal["\n", "\r\n"] = "\r\n" if 0 < text.count("\n") == text.count("\r\n") else "\n"
    templates = environment(line_end)  # first: it says what to install where Jinja2 is not
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
        problem = f"{name}{f':{line}' if line else ''}: {type(error).__name__}: {_said(error, text)}"
    except Exception as error:  # noqa: BLE001  # an expression of the template; its message may hold a value
        problem = f"{name}: {type(error).__name__} while it was rendered"
    raise errors.UsageError(problem)


def _said(error: Exception, text: str) -> str:
    from jinja2 import TemplateSyntaxError, UndefinedError

    said = str(error.args[0]) if error.args else ""
    if isinstance(error, TemplateSyntaxError):
        return said or "refused"
    if isinstance(error, UndefinedError):
        # Of an object's members each may be named by a secret's value: `{{ settings[secret("stage")] }}`.
        of, member, name = said.partition(" has no ")
        if not member or name.partition(" ")[2].strip("'\"") in text:
            return said
        return f"{of} has no member of a name that was filled in"
    return "refused"  # it may hold what was filled in


def _needed(registry: SecretProviderRegistry, text: str) -> dict[str, Any]:
    """Return the declared secrets that the template names, and read no others."""
    from jinja2 import meta

    from strongroom.cli.selection import read_all
    from strongroom.declarations.compose import template_value
    from strongroom.templating import environment

    names = meta.find_undeclared_variables(environment().parse(text))
    chosen = {name: plan for name, plan in registry.plan.secrets.items() if name in names}
    return {name: template_value(found) for name, found in read_all(registry, chosen).items()}


def _source(template: Path) -> str:
    if str(template) == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = template.read_bytes()
        except OSError as error:
            raise errors.UsageError(f"{template}: {error.strerror}") from error
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass  # raised below, without the bytes in its context
    raise errors.UsageError(f"{template} is not UTF-8 text")
