"""`strongroom redact`."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command
from strongroom.cli.child.masked import masked_texts
from strongroom.cli.child.relay import Relay
from strongroom.cli.declared.selection import nothing_declared, select_secrets
from strongroom.cli.scanning.leased import without_leases
from strongroom.declarations.resolve import resolve_all
from strongroom.masking import Masker
from strongroom.masking.limits import MIN_CHARACTERS
from strongroom.masking.parts import lines, parts

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

_STDIN, _STDOUT = 0, 1
_ESCAPED = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})  # as GitHub's runner reads them


@command("redact")
@click.option(
    "--group", metavar="G", shell_complete=completions.groups, help="Only the declared secrets of this group."
)
@click.option("--github", is_flag=True, help="Have the runner of GitHub Actions mask the values instead.")
def redact_command(settings: GlobalOptions, *, group: str | None, github: bool) -> int:
    """Copy standard input to standard output with the declared secrets masked.

    Missing secrets are left out; if one cannot be read, nothing is copied. With --github, nothing is copied
    either: workflow commands are printed, which make the runner mask the values, their lines and their parts
    in everything that the job prints afterwards.

    Example: make deploy 2>&1 | strongroom redact
    """
    with settings.registry() as registry:
        if not registry.plan.secrets:
            why = nothing_declared(own=registry.plan.origin == "own")
            settings.warn(f"{why}, and nothing is masked")
        chosen = without_leases(registry, select_secrets(registry.plan, group=group))
        resolutions = resolve_all(registry, chosen)
    for one in resolutions.values():
        if one.unreadable is not None:
            raise one.unreadable
    masked, unmasked = masked_texts(resolutions)
    if unmasked is not None:
        settings.warn(unmasked)
    texts = [part for text in masked for part in (text, *parts(text))]
    if github:
        known = dict.fromkeys(line for text in texts for line in (text, *lines(text)))
        output.lines(
            f"::add-mask::{text.translate(_ESCAPED)}" for text in known if len(text) >= MIN_CHARACTERS
        )
        return 0
    masker = Masker(texts)
    relay = Relay(_STDIN, _STDOUT, lambda: masker)
    while relay.open:
        ready, _, _ = select.select([_STDIN], [], [], relay.wait_seconds())
        if ready:
            relay.forward()
        relay.release_due()
    if relay.broken is not None:
        relay.broken.filename = "standard output"
        raise relay.broken
    return 0
