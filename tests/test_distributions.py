"""What `pip install strongroom` brings, counted in the metadata of what is installed here; nothing is installed for it."""

from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MOST = 21


def brought_by(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Return the names of the distributions that an installer puts there for `name[extras]` on this interpreter."""
    waiting: list[tuple[str, str]] = [(name, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        if (wanted := waiting.pop()) in seen:
            continue
        seen.add(wanted)
        for need in map(Requirement, distribution(wanted[0]).requires or []):
            if need.marker is None or need.marker.evaluate({"extra": wanted[1]}):
                waiting += [(canonicalize_name(need.name), extra) for extra in ("", *need.extras)]
    return {name for name, _ in seen}


def test_strongroom_brings_few_distributions() -> None:
    """An installation without extras is at most 21 distributions; what only some commands need comes with an extra."""
    brought = brought_by("strongroom")
    assert len(brought) <= MOST, sorted(brought)
    assert {"strongroom-core", "strongroom-file", "pydantic-core"} <= brought


@pytest.mark.parametrize("name", ["jinja2", "rich"])
def test_what_few_commands_need_is_not_among_them(name: str) -> None:
    """Templates come with an extra, and tables need no library."""
    assert name not in brought_by("strongroom")


def test_the_extra_brings_jinja2_and_little_else() -> None:
    """`strongroom[templates]` adds Jinja2 and what it needs."""
    assert brought_by("strongroom", ("templates",)) - brought_by("strongroom") == {"jinja2", "markupsafe"}
