"""`strongroom run`. Without click, which `commands/run.py` brings."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from strongroom.cli.child.environment import child_environment, refuse_dangerous, refuse_unholdable
from strongroom.cli.child.launch import refuse_start, replace_by
from strongroom.cli.child.supervisor import run_child
from strongroom.cli.errors import UsageError
from strongroom.cli.selection import deprecations, read_all, select_secrets
from strongroom.masking.limits import MIN_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from strongroom.cli.context import GlobalOptions
    from strongroom.declarations.resolution import Resolution
    from strongroom.masking import Masker
    from strongroom.spec.secret_plan import SecretPlan

    Chosen = tuple[dict[str, SecretPlan], dict[str, Resolution], frozenset[str]]

_NEVER_MASKED = frozenset({"integer", "boolean", "port"})


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
) -> int:
    """Run `words` with the declared secrets in its environment and return its exit code."""
    with ExitStack() as stack:
        chosen, found, credentials = _quickly(settings, group, only) or _wholly(
            settings, group, only, allow_empty=allow_empty
        )
        given = {one.plan.name: one.text for one in found.values() if one.text is not None}
        variables = given | _as_files(stack, {name: given[name] for name in given if chosen[name].as_file})
        refuse_unholdable(variables)
        environment = child_environment(os.environ, variables, credentials=credentials, keep=keep_env)
        texts, unmasked = ([], None) if no_mask or replace else masked_texts(found)
        warnings = [*deprecations(found), *([unmasked] if unmasked is not None else [])]
        if warnings:  # all that there is to say at a start is one line
            settings.warn("; ".join(warnings))
        if replace:
            _become(words, environment, [name for name in given if chosen[name].as_file])
        masker = _masker(texts)
        return run_child(words, environment, masker)


def _wholly(settings: GlobalOptions, group: str | None, only: str | None, *, allow_empty: bool) -> Chosen:
    with settings.registry() as registry:
        if registry.plan.origin == "own" and not allow_empty:
            raise UsageError(
                "there is no spec here, so nothing is known of what the program needs: no strongroom.yaml in "
                f"{os.getcwd()} or above it",  # noqa: PTH109  # no pathlib here
                hint="run `strongroom init`, name one with --spec, or add --allow-empty to start it even so",
            )
        chosen = select_secrets(registry.plan, group=group, only=only)
        refuse_dangerous(chosen)
        found = read_all(registry, chosen)
        return chosen, found, registry.environment()


def _quickly(settings: GlobalOptions, group: str | None, only: str | None) -> Chosen | None:
    """Do as `_wholly` on the remembered way; of whatever goes wrong there, return None."""
    from strongroom.cli.spec_cache import recall
    from strongroom.errors import StrongroomError

    try:
        remembered = recall(settings)
        if remembered is None or remembered.origin == "own":
            return None
        settings.tell_spec(remembered.origin, remembered.source)
        with remembered as registry:
            chosen = select_secrets(registry.plan, group=group, only=only)
            refuse_dangerous(chosen)
            return chosen, read_all(registry, chosen), registry.environment()
    except StrongroomError:
        return None


def _as_files(stack: ExitStack, texts: Mapping[str, str]) -> dict[str, str]:
    if not texts:
        return {}
    from strongroom.cli.child.secret_files import SecretFiles

    files = stack.enter_context(SecretFiles())
    return {name: files.add(name, text) for name, text in texts.items()}


def _become(words: Sequence[str], environment: Mapping[str, str], files: Sequence[str]) -> NoReturn:
    if files:
        raise UsageError(
            f"--replace would leave these files behind: {', '.join(files)}",
            hint="leave it out, or `as_file` in the spec: nobody is left to remove them",
        )
    try:
        replace_by(words, environment)
    except OSError as error:
        number = error.errno or 0
    refuse_start(words[0], environment, number)


def masked_texts(found: Mapping[str, Resolution]) -> tuple[list[str], str | None]:
    """Return the values that are masked, and what to say of those that are not though nobody said so."""
    texts, unmasked = [], []
    for one in found.values():
        if one.text is None or _is_default(one):
            continue
        if (reason := _why_not(one)) is not None:
            unmasked.append(f"{one.plan.name} ({reason})")
        elif one.plan.mask:
            texts.append(one.text)
        # CMD sees what a composed secret was made of, whether or not it was given that too.
        texts += [
            part.text
            for part in _made_of(one)
            if part.text is not None and not _is_default(part) and part.plan.mask and _why_not(part) is None
        ]
    return texts, f"not masked: {', '.join(unmasked)}" if unmasked else None


def _masker(texts: Sequence[str]) -> Callable[[], Masker] | None:
    """Return what makes the masker; None where there is nothing to mask."""

    @cache
    def make() -> Masker:
        from strongroom.masking import Masker
        from strongroom.masking.parts import parts

        return Masker([text for value in texts for text in (value, *parts(value))])

    return make if texts else None


def _is_default(one: Resolution) -> bool:
    return one.text == one.plan.default  # it stands in the spec for everybody to read


def _made_of(one: Resolution) -> Iterator[Resolution]:
    for part in one.parts:
        yield part
        yield from _made_of(part)


def _why_not(one: Resolution) -> str | None:
    """Return why a value cannot be masked that the spec does not take out itself."""
    if not one.plan.mask or not one.text:
        return None
    if one.plan.type in _NEVER_MASKED:
        return f"of type {one.plan.type}"
    if len(one.text) < MIN_CHARACTERS:
        return f"fewer than {MIN_CHARACTERS} characters"
    return None
