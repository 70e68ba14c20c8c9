"""The command group: names and one line of help for each command, its module imported when it runs."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from strongroom._version import __version__
from strongroom.cli import completions, errors
from strongroom.cli.context import INTERRUPTED, GlobalOptions, run_guarded, wants_json

__all__ = ["Command", "FilePath", "command", "run_app"]

# The help is here so that listing the commands imports none of them; a test holds it equal.
COMMANDS = {
    "audit": "Verify and read the audit trail.",
    "backup": "Write a copy of the encrypted store.",
    "cache": "Clear caches.",
    "check": "Check that every declared secret is there, typed and fresh.",
    "completion": "Print the completion script for a shell.",
    "copy": "Copy secrets from one pipeline to another.",
    "delete": "Delete secrets.",
    "diff": "Compare two pipelines or profiles, without their values.",
    "doctor": "Look for what is wrong with the set-up.",
    "edit": "Change a secret in an editor.",
    "explain": "Show how a key is answered, without its value.",
    "export": "Print secrets in the format of another tool.",
    "get": "Print the value of a secret.",
    "graph": "Draw the pipelines.",
    "history": "List the versions of a secret.",
    "import": "Store the secrets of a file.",
    "init": "Write a spec, and make an encrypted store and its key.",
    "keygen": "Print a new encryption key.",
    "lease": "Manage leases.",
    "list": "List keys.",
    "mv": "Give a secret another key.",
    "plugins": "List the installed plugins, or begin a new one.",
    "redact": "Mask the declared secrets in what is piped through.",
    "rekey": "Encrypt the store under a new key.",
    "render": "Fill secrets into a template.",
    "restore": "Replace the store with a backup.",
    "rotate": "Give secrets new values, without downtime.",
    "run": "Run a program with the declared secrets in its environment.",
    "scan": "Look for stored values in files.",
    "schema": "Print the JSON Schema of specs.",
    "serve": "Answer clients of Vault and of AWS's agent.",
    "set": "Store a secret.",
    "trust": "Trust a spec that was found.",
}
# The words of other tools: by its letters alone, `remove` would lead to `restore`.
_OTHER_WORDS = {
    "check": ("lint", "status", "test", "validate", "verify"),
    "copy": ("cp",),
    "delete": ("del", "destroy", "remove", "rm", "unset"),
    "explain": ("debug", "which", "why"),
    "get": ("cat", "fetch", "print", "read", "reveal", "show", "view"),
    "history": ("log", "versions"),
    "init": ("new", "setup"),
    "list": ("dir", "find", "keys", "ls", "secrets"),
    "mv": ("move", "rename"),
    "render": ("inject", "template"),
    "run": ("env", "exec", "start"),
    "serve": ("server",),
    "set": ("add", "create", "insert", "put", "store", "update", "write"),
}
_WITHOUT_COUNTERPART = ("config", "help", "login", "logout", "version")
_BEFORE_THE_COMMAND = ("--spec", "--profile", "--pipeline", "--tenant", "--reason")


class FilePath(click.Path):
    """A path that is not empty: a variable that is not set would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return `value` as `click.Path` does; an empty one is a usage error."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class Command(click.Command):
    """A command that also takes `--json`, `--debug` and `--quiet` after its name."""

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
                ["--quiet"], is_flag=True, expose_value=False, callback=_switch, help="Leave out warnings."
            ),
        ]


def _switch(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        setattr(context.obj, str(option.name), True)


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function a command; it gets the `GlobalOptions` first."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        made = click.command(name, cls=Command, short_help=COMMANDS[name], **settings)
        return made(click.pass_obj(function))

    return decorate


def module_of(name: str) -> str:
    """Return the module of a command: its name, with `_` after it if it is a keyword of Python."""
    return (
        f"strongroom.cli.commands.{name}_" if keyword.iskeyword(name) else f"strongroom.cli.commands.{name}"
    )


def _meant(word: str) -> str:
    """Return a hint to the command that was probably meant by `word`."""
    from strongroom.plugins import did_you_mean

    for name, others in _OTHER_WORDS.items():
        if word in others:
            return f"did you mean {name!r}?"
    known = () if word in _WITHOUT_COUNTERPART else COMMANDS
    return did_you_mean(word, known, otherwise="see `strongroom --help`")


class _Group(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        del context
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        del context
        if name not in COMMANDS:
            return None
        module = importlib.import_module(module_of(name))
        found: click.Command = getattr(module, f"{name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = _meant(args[0])
            raise errors.UsageError(f"there is no command {args[0][:40]!r}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        del context
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.option(
    "--spec",
    metavar="PATH",
    type=FilePath(),
    shell_complete=completions.files,
    help="The spec file; else STRONGROOM_SPEC, else strongroom.yaml here or above.",
)
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=completions.profiles,
    help="The profile of the spec; else STRONGROOM_PROFILE.",
)
@click.option(
    "--pipeline",
    metavar="NAME",
    shell_complete=completions.pipelines,
    help="Ask this pipeline only, whatever the routes say.",
)
@click.option("--tenant", metavar="ID", help="Act for this tenant.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail; else STRONGROOM_REASON.")
@click.option("--json", "as_json", is_flag=True, help="Print answers and errors as JSON.")
@click.option("--debug", is_flag=True, help="Show where an error arose; never a value.")
@click.option("--quiet", is_flag=True, help="Leave out warnings.")
@click.version_option(__version__, prog_name="strongroom", message="%(prog)s %(version)s")
@click.pass_obj
def app(settings: GlobalOptions, /, **given: Any) -> None:
    """Read, write and hand over secrets through the pipelines of a YAML spec."""
    settings.spec, settings.profile, settings.pipeline = given["spec"], given["profile"], given["pipeline"]
    if given["tenant"] is not None:
        from strongroom.tenancy import TenantContext

        click.get_current_context().with_resource(TenantContext(given["tenant"]))
        settings.tenant = given["tenant"]
    if given["reason"]:
        from strongroom.audit.reason import because

        click.get_current_context().with_resource(because(given["reason"]))
    settings.json |= given["as_json"]
    settings.debug |= given["debug"]
    settings.quiet |= given["quiet"]


def run_app(args: Sequence[str]) -> int:
    """Run the command that `args` ask for and return its exit code."""
    settings = GlobalOptions(json=wants_json(args))
    return run_guarded(settings, lambda: _run(args, settings))


def _run(args: Sequence[str], settings: GlobalOptions) -> int:
    try:
        code = app.main(args=list(args), prog_name="strongroom", obj=settings, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return errors.USAGE
    except click.UsageError as error:
        _refuse(error)
    except click.Abort as aborted:
        if isinstance(aborted.__cause__, EOFError):  # not of a prompt, whose end click reports without one
            raise aborted.__cause__ from None
        return INTERRUPTED
    except SystemExit as ended:
        if not _is_clicks(ended):
            raise  # a plugin's
        code = ended.code
    return code if isinstance(code, int) else 0


def _is_clicks(ended: SystemExit) -> bool:
    """Return whether click ends itself: it has answered a shell that completes, or nobody reads on."""
    trace = ended.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("click.")


def _refuse(error: click.UsageError) -> NoReturn:
    hint = None
    if isinstance(error, click.NoSuchOption) and error.option_name in _BEFORE_THE_COMMAND:
        hint = f"put {error.option_name} before the command"
    elif error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    said = error.format_message()
    if said.endswith("?"):  # click says what was meant
        hint = None
    refused = errors.UsageError(said.rstrip("."), hint=hint)
    refused.__suppress_context__ = True
    raise refused
