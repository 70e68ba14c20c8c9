"""`strongroom run`, without click; `commands/run.py` has the options."""

from __future__ import annotations

import os
from contextlib import ExitStack

from strongroom.cli.child.environment import child_environment, refuse_dangerous, refuse_unholdable
from strongroom.cli.child.launch import refuse_start, replace_by
from strongroom.cli.child.masked import masked_texts, masker_of
from strongroom.cli.child.running import run_child
from strongroom.cli.child.signals import keyboard_signals_left_to_main
from strongroom.cli.declared.selection import deprecations, newly_undeclared, read_all, select_secrets
from strongroom.cli.errors import UsageError
from strongroom.spec.found import passed_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from strongroom.cli.context import GlobalOptions
    from strongroom.declarations.resolution import Resolution
    from strongroom.spec.secret_plan import SecretPlan

    Chosen = tuple[dict[str, SecretPlan], dict[str, Resolution], frozenset[str], str | None]


def run(
    settings: GlobalOptions,
    *,
    words: Sequence[str],
    group: str | None = None,
    only: str | None = None,
    no_mask: bool = False,
    allow_empty: bool = False,
    replace: bool = False,
    keep_env: Sequence[str] = (),
    watch: bool = False,
    on_change: str | None = None,
    poll_seconds: float | None = None,
    stop_timeout: float | None = None,
) -> int:
    """Run `words` with the declared secrets in its environment and return its exit code.

    Raises:
        UsageError: An option does not go with another one.
    """
    if watch:
        if replace:
            raise UsageError("with --replace, nothing is left that could watch")
        from strongroom.cli.actions.watched_run import run_watched

        return run_watched(
            settings, words, group=group, only=only, no_mask=no_mask, allow_empty=allow_empty, keep=keep_env,
            on_change="restart" if on_change is None else on_change,
            poll_seconds=30.0 if poll_seconds is None else poll_seconds,
            stop_timeout=10.0 if stop_timeout is None else stop_timeout,
        )  # fmt: skip
    if on_change is not None or poll_seconds is not None or stop_timeout is not None:
        raise UsageError("--on-change, --poll-seconds and --stop-timeout belong to --watch")
    with ExitStack() as stack:
        stack.enter_context(keyboard_signals_left_to_main())
        read = _from_spec_cache(settings, group, only)
        if read is None:
            read = _from_registry(settings, group, only, stack, allow_empty=allow_empty, replace=replace)
        chosen, resolutions, credentials, undeclared = read
        values = {one.plan.name: one.text for one in resolutions.values() if one.text is not None}
        in_files = [name for name in values if chosen[name].as_file]
        variables = values | _as_files(stack, {name: values[name] for name in in_files})
        refuse_unholdable(variables)
        environment = child_environment(os.environ, variables, credentials=credentials, keep=keep_env)
        texts, unmasked = ([], None) if no_mask or replace else masked_texts(resolutions)
        warnings = [*deprecations(resolutions), *(one for one in (unmasked, undeclared) if one is not None)]
        if warnings:  # in one line
            settings.warn("; ".join(warnings))
        if replace:
            _become(words, environment, in_files)
        outcome = run_child(words, environment, masker_of(texts))
    return outcome.end()


def _from_registry(
    settings: GlobalOptions,
    group: str | None,
    only: str | None,
    stack: ExitStack,
    *,
    allow_empty: bool,
    replace: bool,
) -> Chosen:
    from strongroom.cli.declared.sightings import note_resolved
    from strongroom.cli.spec_cache import without_caches

    with ExitStack() as own:
        registry = own.enter_context(settings.registry(change=without_caches))
        if registry.plan.origin == "own" and not allow_empty:
            raise UsageError(
                "there is no spec here, so it is not known what the program needs: no strongroom.yaml in "
                f"{os.getcwd()} or above it{passed_over()}",  # noqa: PTH109  # no pathlib here
                hint="run `strongroom init`, name one with --spec, or add --allow-empty to start it anyway",
            )
        chosen = select_secrets(registry.plan, group=group, only=only, source=registry)
        refuse_dangerous(chosen)
        resolutions = read_all(registry, chosen)
        note_resolved(registry, resolutions.values())
        plan = registry.plan
        undeclared = newly_undeclared(plan.source, plan.profile, plan.secrets)
        if registry.holds_leases():
            if replace:
                raise UsageError("--replace would leave leases behind that nobody renews or revokes")
            stack.push(own.pop_all())  # they live as long as the child
        return chosen, resolutions, registry.environment(), undeclared


def _from_spec_cache(settings: GlobalOptions, group: str | None, only: str | None) -> Chosen | None:
    """Do the same as `_from_registry` by the remembered spec; return None if anything goes wrong there."""
    from strongroom.cli.spec_cache import recall
    from strongroom.errors import StrongroomError

    try:
        remembered = recall(settings)
        if remembered is None or remembered.origin == "own" or not remembered.is_whole:
            return None
        settings.tell_spec(remembered.origin, remembered.source)
        with remembered as registry:
            chosen = select_secrets(registry.plan, group=group, only=only)
            refuse_dangerous(chosen)
            found = read_all(registry, chosen)
            undeclared = newly_undeclared(remembered.source, remembered.profile, registry.plan.secrets)
            return chosen, found, registry.environment(), undeclared
    except StrongroomError:
        return None


def _as_files(stack: ExitStack, texts: Mapping[str, str]) -> dict[str, str]:
    if not texts:
        return {}
    from strongroom.cli.child.secret_files import SecretFiles

    return stack.enter_context(SecretFiles()).put(texts)


def _become(words: Sequence[str], environment: Mapping[str, str], files: Sequence[str]) -> NoReturn:
    if files:
        raise UsageError(
            f"--replace would leave these files behind: {', '.join(files)}",
            hint="leave out --replace, or `as_file` in the spec: nobody would remove them",
        )
    try:
        replace_by(words, environment)
    except OSError as error:
        number = error.errno or 0
    refuse_start(words[0], environment, number)
