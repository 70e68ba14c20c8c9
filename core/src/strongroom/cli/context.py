"""The context of every command: the global options, and the handling of errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from strongroom.cli import errors
from strongroom.cli.standard_streams import output_was_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.found import FoundSpec
    from strongroom.spec.plan import Plan
    from strongroom.spec.records import Recalled

__all__ = ["INTERRUPTED", "GlobalOptions", "refuse_useless_tenant", "run_guarded"]

INTERRUPTED = 128 + 2  # SIGINT; `signal` is an import, and makes enumerations


class GlobalOptions:
    """The global options of one call."""

    __slots__ = (
        "debug", "found", "json", "pipeline", "profile", "quiet", "recalled", "spec", "spec_shown", "tenant"
    )  # fmt: skip

    def __init__(
        self,
        *,
        spec: str | None = None,
        profile: str | None = None,
        pipeline: str | None = None,
        json: bool = False,
        debug: bool = False,
        quiet: bool = False,
    ) -> None:
        self.spec = spec
        self.profile = profile
        self.pipeline = pipeline
        self.json = json
        self.debug = debug
        self.quiet = quiet
        self.tenant: str | None = None
        self.found: FoundSpec | None = None
        """The spec that was found when a hook of git was installed; it is treated as if it was found now."""
        self.spec_shown = False
        self.recalled: Recalled | None = None
        """The record of the spec that was found a moment ago; it is not looked for again."""

    def registry(
        self, pipelines: Sequence[str] = (), *, change: Callable[[Plan, str | None], Plan] | None = None
    ) -> SecretProviderRegistry:
        """Return the registry for these options; the caller closes it.

        Args:
            pipelines: Those that the command itself uses.
            change: Returns the plan to use instead of the spec's, given that and the chosen pipeline.

        Raises:
            UsageError: A tenant is given, and no component of the pipelines uses it.
        """
        from strongroom.registry import SecretProviderRegistry

        self._leave_warnings_out_of_the_log()
        # The public signature has neither found specs nor plans.
        spec: Any = self.spec if self.found is None else self.found
        if change is not None:
            spec = change(self.plan(look_up=True), self.pipeline)
        registry = SecretProviderRegistry(spec, profile=self.profile, pipeline=self.pipeline)
        self.tell_spec(registry.plan.origin, registry.plan.source)
        if self.tenant is not None:
            try:
                refuse_useless_tenant(registry.plan, pipelines or ([self.pipeline] if self.pipeline else ()))
            except errors.UsageError:
                registry.close()
                raise
        return registry

    def check_tenant(self, registry: SecretProviderRegistry, *keys: str) -> None:
        """Refuse a tenant that the pipelines of `keys` do not use: what is there belongs to all.

        Raises:
            UsageError: A tenant is given, and no component of these pipelines uses it.
        """
        if self.tenant is not None:
            refuse_useless_tenant(registry.plan, [registry.explain(key).pipeline for key in keys])

    def check_tenant_below(self, registry: SecretProviderRegistry, prefix: str) -> None:
        """Refuse a tenant as `check_tenant` does, if no pipeline uses it that answers keys below `prefix`."""
        if self.tenant is not None:
            answering = registry.answering(prefix, prefix=True)
            refuse_useless_tenant(registry.plan, [pipeline.name for pipeline, _, _ in answering])

    def plan(self, *, look_up: bool = False) -> Plan:
        """Return the plan of the spec; without `look_up` no variable and no other file is read."""
        from strongroom.spec.locate import find_plan

        self._leave_warnings_out_of_the_log()
        spec = self.spec if self.found is None else self.found
        recalled, self.recalled = self.recalled, None
        plan = find_plan(
            spec, profile=self.profile, pipeline=self.pipeline, look_up=look_up, recalled=recalled
        )
        self.tell_spec(plan.origin, plan.source)
        return plan

    def _leave_warnings_out_of_the_log(self) -> None:
        """With `--quiet`, show no warnings that are logged; a process without it need not load `logging`."""
        if self.quiet:
            import logging

            if logging.lastResort is not None:  # what shows them where nobody has configured a log
                logging.lastResort.setLevel(logging.ERROR)

    def warn_of_leases(self, registry: SecretProviderRegistry) -> None:
        """Warn that values which a command hands out are revoked as it ends, if they are of a lease."""
        if registry.holds_leases(revocable=True):
            self.warn(
                "values of a lease are revoked as this command ends; `strongroom run` keeps them valid "
                "for as long as a program runs"
            )

    def tell_spec(self, origin: str, source: str) -> None:
        """Note which spec is used, if it was found above the current folder."""
        if origin == "found" and os.path.isabs(source) and not self.spec_shown:  # noqa: PTH117  # no pathlib here
            self.spec_shown = True
            self.note(f"using {source}")

    def tell_own_store(self, plan: Plan) -> None:
        """Note which store is used, if there is no spec."""
        if plan.origin == "own":
            options = next(iter(plan.pipelines.values())).provider
            path = (options.options or {})["file_path"] if options is not None else ""
            self.note(f"there is no strongroom.yaml here; using your own store, {path}")

    def refuse_format(self, form: str | None) -> None:
        """Refuse a `--format` that contradicts `--json`.

        Raises:
            UsageError: `form` is neither None nor `json`, and `--json` is given.
        """
        if self.json and form not in {None, "json"}:
            raise errors.UsageError(
                f"--json and --format {form} ask for different things", hint="give one of them"
            )

    def note(self, message: str) -> None:
        """Write `message` to stderr, if that is a terminal, so that a person reads it."""
        if sys.stderr.isatty() and not (self.json or self.quiet):
            errors.print_note(message)

    def warn(self, message: str) -> None:
        """Write the warning `message` to stderr, unless `--quiet` is given."""
        if not self.quiet:
            errors.print_warning(message, as_json=self.json)


def run_guarded(settings: GlobalOptions, command: Callable[[], int | None]) -> int:
    """Run `command`, print any exception, and return the exit code.

    Args:
        settings: Read only after a failure, so the command may still fill them in.
        command: Returns its exit code, or None for 0.
    """
    shown, warnings.showwarning = warnings.showwarning, partial(_show_warning, settings, warnings.showwarning)
    try:
        code = command() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return errors.UNEXPECTED
    except OSError as error:
        _close_stdout()
        if output_was_closed(error):  # nobody hears it, as of a reader that is gone
            return errors.UNEXPECTED
        return errors.print_error(error, as_json=settings.json, debug=settings.debug)
    except BaseException as error:  # noqa: BLE001  # a plugin's exit, or a panic of its extension in Rust, too
        return errors.print_error(error, as_json=settings.json, debug=settings.debug)
    finally:
        warnings.showwarning = shown
    return code


def _show_warning(
    settings: GlobalOptions,
    shown: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
    **more: Any,
) -> None:
    """Show a warning that is for users as a line, and others as Python does, with their place in the code."""
    if category is UserWarning or category.__module__.partition(".")[0].startswith("strongroom"):
        settings.warn(str(message))
    else:
        shown(message, category, *place, **more)


def _close_stdout() -> None:
    """Drop what could not be written, or Python would try again as it exits, and print an error."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def wants_json(args: Sequence[str]) -> bool:
    """Return whether `args` ask for JSON, for errors that come before they are understood."""
    own = args[: args.index("--")] if "--" in args else args
    return "--json" in own


_USE_TENANT = frozenset({("middleware", "tenant"), ("middleware", "encryption")})
# Any component of a third party may use the tenant; these, and all other types in `known.py`, do not.
_USE_NO_TENANT = frozenset({"caching", "prefix", "read-only", "retry", "validation", "audit"})


def refuse_useless_tenant(plan: Plan, pipelines: Iterable[str] = ()) -> None:
    """Raise `UsageError` if no component of `pipelines` uses the tenant.

    Without `pipelines` all are checked that the default and the routes lead to.
    """
    asked: list[str | None] = [*pipelines]
    if not asked:
        asked = [plan.default, *(route.pipeline for route in plan.routes)]
    used = {name for one in asked if one is not None for name in plan.used_by(one)}
    parts = [part for name in used for part in plan.pipelines[name].components()]
    if not any(_uses_tenant(part.kind, part.type) for part in (*parts, *plan.hooks)):
        components = ", ".join(sorted(used)) or "the store"
        raise errors.UsageError(
            f"--tenant means nothing here: nothing in {components} keeps tenants apart",
            hint="leave it out, or put `{type: tenant}` into the pipeline's middleware",
        )


def _uses_tenant(kind: str, name: str) -> bool:
    from strongroom.plugins.known import KNOWN_TYPES

    shipped = name in _USE_NO_TENANT or any(name in types for types in KNOWN_TYPES.values())
    return (kind, name) in _USE_TENANT or not shipped
