"""What the tests of specs share: a spec in a file, loaded, and its problems."""

from __future__ import annotations

import pytest
from strongroom.errors import SpecError
from strongroom.spec import load_plan


def problems(tmp_path, text, **kwargs):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_plan(path, **kwargs)
    return [problem.replace(f"{path}:", "") for problem in caught.value.problems]


def plan(tmp_path, text, **kwargs):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return load_plan(path, **kwargs)


MEMORY = "version: 1\npipelines:\n  app: {provider: {type: memory}}\n"
