"""A new plugin: a small, complete distribution whose tests pass the conformance kit.

The template is in this package (`templates/provider_plugin`) and not under the repository's `plugins/`,
because `strongroom plugins new` must have it from an installed wheel, and a build of core's sdist cannot
reach outside core's folder. Its files end in `.template`, so that no tool takes them for code.
"""

from __future__ import annotations

import keyword
import re
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from strongroom._version import __version__
from strongroom.errors import ConfigurationError

__all__ = ["create_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"
_MAX_CHARACTERS = 40


def create_plugin(name: str, folder: Path) -> Path:
    """Write the distribution `strongroom-NAME` into `folder` and return the folder it is in.

    Args:
        name: The type name in YAML: lower-case letters, digits and single dashes.
        folder: Where to make the folder `strongroom-NAME`; it is made where it is missing.

    Raises:
        ConfigurationError: `name` is not a name, belongs to strongroom itself, or something is there already.
    """
    _check_name(name)
    target = Path(folder) / f"strongroom-{name}"
    module = f"strongroom_{name.replace('-', '_')}"
    words = {
        "@NAME@": name,
        "@MODULE@": module,
        "@CLASS@": "".join(part[:1].upper() + part[1:] for part in name.split("-")),
        "@CORE@": _this_core(),
    }
    failure: ConfigurationError | None = None
    try:
        target.mkdir(parents=True)
        _copy(resources.files("strongroom.plugins") / "templates" / "provider_plugin", target, words)
        (target / "src" / "package").rename(target / "src" / module)
        (target / "src" / module / "py.typed").touch()
    except FileExistsError:
        failure = ConfigurationError(f"{target} is already there", hint="choose another name or folder")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)  # else it would be in the way of the next attempt
        failure = ConfigurationError(f"{target} cannot be written: {error.strerror}")
    if failure is not None:
        raise failure
    return target


def _this_core() -> str:
    """Return which versions of core the plugin takes: from this one up to the next that may break it."""
    major, minor = map(int, __version__.split(".")[:2])
    return f">={major}.{minor},<{f'{major}.{minor + 1}' if major == 0 else major + 1}"


def _check_name(name: str) -> None:
    from strongroom.plugins.discovery import BUILT_IN_NAMES
    from strongroom.plugins.known import KNOWN_TYPES

    if not _NAME.fullmatch(name) or len(name) > _MAX_CHARACTERS:
        raise ConfigurationError(
            f"{name[:_MAX_CHARACTERS]!r} is not a name for a plugin",
            hint=f"use up to {_MAX_CHARACTERS} lower-case letters, digits and single dashes, as in 'acme'",
        )
    if any(name in table for table in KNOWN_TYPES.values()) or name in {"core", "enterprise"}:
        raise ConfigurationError(f"strongroom-{name} is strongroom's own", hint="choose another name")
    if name in BUILT_IN_NAMES:
        # With two entry points of one name every spec with that type would be refused.
        raise ConfigurationError(f"{name!r} is a type of strongroom's own", hint="choose another name")
    if keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is a keyword of Python", hint="choose another name")


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    for item in source.iterdir():
        if item.is_dir():
            (target / item.name).mkdir()
            _copy(item, target / item.name, words)
        elif item.name.endswith(_SUFFIX):
            text = item.read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            (target / item.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
