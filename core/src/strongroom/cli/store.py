"""`strongroom backup`, `restore` and `rekey`: what is done to all that is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import output
from strongroom.cli.app import command
from strongroom.cli.failures import UsageError
from strongroom.cli.progress import progress
from strongroom.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from strongroom.cli.frame import Settings
    from strongroom.registry import SecretProviderRegistry


@command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE where there is one.")
def backup_command(settings: Settings, *, file: Path, overwrite: bool) -> None:
    """Write a verified copy of the encrypted store to FILE while it is in use; it needs the same key.

    Example: strongroom backup secrets.backup
    """
    with settings.registry() as registry:
        _store(registry, "backup").backup(file, overwrite=overwrite)
    _tell(settings, {"backup": str(file)}, f"wrote {file}; keep it away from the store's key")


@command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def restore_command(settings: Settings, file: Path) -> None:
    """Put the backup FILE in the place of the store; a damaged store is moved aside and kept.

    Example: strongroom restore secrets.backup
    """
    with settings.registry() as registry:
        _store(registry, "restore").restore(file)
    _tell(settings, {"restored": str(file)}, f"restored {file}")


@command("rekey")
@click.option(
    "--new-key-file",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Take the new key from F, made where it is missing; without it a new key is generated.",
)
@click.option("--values", is_flag=True, help="Encrypt anew what the encryption middleware wrote.")
def rekey_command(settings: Settings, *, new_key_file: Path | None, values: bool) -> None:
    """Encrypt the store under a new key, and let that replace the key file last, in one step.

    After a crash at any point the store opens as before or as after; call it again then. With --values,
    and where the pipeline has no store in a file, every value is written anew that its encryption middleware
    did not encrypt with the first of its keys, or with the latest version of its transit key.

    Example: strongroom rekey
    """
    with settings.registry() as registry, progress("rekeying") as advance:
        middleware = _encryption(registry)
        if values or (middleware is not None and not _has(registry, "rekey")):
            if new_key_file is not None:
                raise UsageError(
                    "--new-key-file is for a store in a file; the middleware's keys are in the spec"
                )
            if middleware is None:
                raise UsageError("this pipeline has no encryption middleware")
            written = middleware.rekey(progress=advance)
            _tell(settings, {"rekeyed": True, "values": written}, f"{written} values were encrypted anew")
            return
        _store(registry, "rekey").rekey(new_key_file=new_key_file, progress=advance)
    _tell(settings, {"rekeyed": True}, "everything is encrypted under the new key")


def _encryption(registry: SecretProviderRegistry) -> Any:
    """Return the default pipeline with all that stands inside of its outermost encryption, or None."""
    from strongroom.middleware import EncryptionMiddleware

    provider: Any = registry.pipeline(registry.default_pipeline())
    while hasattr(provider, "inner") and not isinstance(provider, EncryptionMiddleware):
        provider = provider.inner
    return provider if isinstance(provider, EncryptionMiddleware) else None


def _has(registry: SecretProviderRegistry, operation: str) -> bool:
    from strongroom.registry import innermost

    return callable(getattr(innermost(registry.pipeline(registry.default_pipeline())), operation, None))


def _store(registry: SecretProviderRegistry, operation: str) -> Any:
    """Return the provider of the default pipeline, provided that it has the operation."""
    from strongroom.registry import innermost

    name = registry.default_pipeline()
    provider = innermost(registry.pipeline(name))
    if not _has(registry, operation):
        kind = getattr(provider, "type_name", "") or type(provider).__name__
        raise UnsupportedOperationError(
            f"{kind} has no {operation}", pipeline=name, hint="name a pipeline with a file: --pipeline NAME"
        )
    return provider


def _tell(settings: Settings, answer: dict[str, Any], line: str) -> None:
    if settings.json:
        output.as_json(answer)
    else:
        output.lines([line])
