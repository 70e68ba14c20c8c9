"""Templates that hold nothing but names are filled in without Jinja2, to the same text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import SecretProviderRegistry
from strongroom.cli.actions.render import render
from strongroom.errors import ConfigurationError, SpecError
from strongroom.templating import as_written, environment, names_in, plain_parts

PIECES = st.sampled_from(
    [
        "{{ A }}",
        "{{ B }}",
        "{{a_1}}",
        "{{  A\t}}",
        "{{ range }}",
        "{{ in }}",
        "{{ notes }}",
        "{{ not }}",
        "{{ true }}",
        '{{ "{" }}',
        '{{ "\\r" }}',
        "{",
        "}",
        "%",
        "#",
        "{{",
        "}}",
        "{%",
        "\n",
        "\r",
        " ",
        "x",
        "é",
        "-",
    ]
)
VALUES = {"A": "{{ B }}", "B": 5, "a_1": "x", "range": "y", "in": "z", "notes": "", "not": "n", "true": "t"}


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=6).map("".join))
def test_a_plain_template_is_what_jinja2_makes_of_it(text):
    parts = plain_parts(text)
    if parts is None:
        return
    made = "".join(as_written(VALUES[one[0]]) if isinstance(one, tuple) else one for one in parts)
    assert made == environment().from_string(text).render(VALUES)
    assert names_in(text) == {one[0] for one in parts if isinstance(one, tuple)}


def test_what_init_writes_needs_no_jinja2_and_others_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    environment.cache_clear()
    assert names_in("postgres://{{ DB_USER }}@{{host}}") == {"DB_USER", "host"}
    with pytest.raises(ConfigurationError, match="Jinja2") as caught:
        names_in("{{ DB_USER | urlencode }}")
    assert caught.value.hint == "pip install 'strongroom[templates]'"
    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    with SecretProviderRegistry(spec) as registry:
        assert render("x", "-", registry) == "x"
        wrong = spec | {"secrets": {"URL": {"compose": "{{ HOST | lower }}"}, "HOST": {"default": "x"}}}
        with pytest.raises(SpecError, match=r"secrets\.URL\.compose: .* Jinja2.*pip install"):
            SecretProviderRegistry(wrong)
        with pytest.raises(ConfigurationError, match="Jinja2") as caught:
            render("{{ secret('x') }}", "-", registry)
    assert caught.value.hint == "pip install 'strongroom[templates]'"
    environment.cache_clear()
