"""The command group: names and one line of help for each command, its module imported when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from strongroom import __version__
from strongroom.cli import completing, failures
from strongroom.cli.frame import INTERRUPTED, Settings, guarded, wants_json

__all__ = ["Command", "command", "run_app"]

# The help stands here so that listing the commands imports none of them; a test holds it equal.
COMMANDS = {
    "audit": ("audit", "Verify and read the audit trail."),
    "cache": ("cache", "Let caches forget."),
    "backup": ("store", "Write a copy of the encrypted store."),
    "check": ("check", "Check that every declared secret is there, typed and fresh."),
    "completion": ("completion", "Print the completion script for a shell."),
    "copy": ("moving", "Copy secrets from one pipeline to another."),
    "delete": ("secrets", "Delete secrets."),
    "doctor": ("doctor", "Look for what is wrong with the set-up."),
    "explain": ("explain", "Show how a key is answered, without its value."),
    "export": ("export", "Print secrets in the format of another tool."),
    "get": ("get", "Print the value of a secret."),
    "graph": ("graph", "Draw the pipelines."),
    "history": ("secrets", "List the versions of a secret."),
    "import": ("moving", "Store the secrets of a file."),
    "init": ("init", "Write a spec, and make an encrypted store and its key."),
    "keygen": ("keygen", "Print a new encryption key."),
    "list": ("secrets", "List keys."),
    "plugins": ("plugins", "List the installed plugins, or begin a new one."),
    "redact": ("redact", "Mask the declared secrets in what is piped through."),
    "rekey": ("store", "Encrypt the store under a new key."),
    "render": ("render", "Fill secrets into a template."),
    "restore": ("store", "Put a backup in the place of the store."),
    "rotate": ("rotate", "Give secrets new values, without downtime."),
    "run": ("run", "Run a program with the declared secrets in its environment."),
    "scan": ("scan", "Look for stored values in files."),
    "schema": ("schema", "Print the JSON Schema of specs."),
    "set": ("secrets", "Store a secret."),
    "trust": ("trust", "Trust a spec that was found."),
}
_BEFORE_THE_COMMAND = ("--spec", "--profile", "--pipeline", "--tenant", "--reason")


class Command(click.Command):
    """A command that also takes `--json`, `--debug` and `--quiet` behind its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["--json"], is_flag=True, expose_value=False, callback=_switch, help="Answer as JSON."
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_switch,
                help="Show where an error arose.",
            ),
            click.Option(
                ["--quiet"], is_flag=True, expose_value=False, callback=_switch, help="Leave warnings out."
            ),
        ]


def _switch(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        setattr(context.obj, str(option.name), True)


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function a command; it gets the `Settings` first."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        made = click.command(name, cls=Command, short_help=COMMANDS[name][1], **settings)
        return made(click.pass_obj(function))

    return decorate


class _Group(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        del context
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        del context
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"strongroom.cli.{COMMANDS[name][0]}")
        found: click.Command = getattr(module, f"{name}_command")
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        del context
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.option(
    "--spec", metavar="PATH", help="The spec file; else STRONGROOM_SPEC, else strongroom.yaml here or above."
)
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=completing.profiles,
    help="The profile of the spec; else STRONGROOM_PROFILE.",
)
@click.option(
    "--pipeline",
    metavar="NAME",
    shell_complete=completing.pipelines,
    help="Ask this pipeline only, whatever the routes say.",
)
@click.option("--tenant", metavar="ID", help="Act for this tenant.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail; else STRONGROOM_REASON.")
@click.option("--json", "as_json", is_flag=True, help="Answer, and tell errors, as JSON.")
@click.option("--debug", is_flag=True, help="Show where an error arose; never a value.")
@click.option("--quiet", is_flag=True, help="Leave warnings out.")
@click.version_option(__version__, prog_name="strongroom", message="%(prog)s %(version)s")
@click.pass_obj
def app(settings: Settings, /, **given: Any) -> None:
    """Read, write and hand over secrets through the pipelines of a YAML spec."""
    settings.spec, settings.profile, settings.pipeline = given["spec"], given["profile"], given["pipeline"]
    if given["tenant"] is not None:
        from strongroom.tenancy import TenantContext

        click.get_current_context().with_resource(TenantContext(given["tenant"]))
        settings.tenant = given["tenant"]
    if given["reason"]:
        from strongroom.audit.who import because

        click.get_current_context().with_resource(because(given["reason"]))
    settings.json |= given["as_json"]
    settings.debug |= given["debug"]
    settings.quiet |= given["quiet"]


def run_app(args: Sequence[str]) -> int:
    """Run the command that `args` ask for and return its exit code."""
    settings = Settings(json=wants_json(args))
    return guarded(settings, lambda: _run(args, settings))


def _run(args: Sequence[str], settings: Settings) -> int:
    try:
        code = app.main(args=list(args), prog_name="strongroom", obj=settings, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return failures.USAGE
    except click.UsageError as error:
        _refuse(error)
    except click.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _refuse(error: click.UsageError) -> NoReturn:
    hint = None
    if isinstance(error, click.NoSuchOption) and error.option_name in _BEFORE_THE_COMMAND:
        hint = f"put {error.option_name} before the command"
    elif error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    refused = failures.UsageError(error.format_message().rstrip("."), hint=hint)
    refused.__suppress_context__ = True
    raise refused
