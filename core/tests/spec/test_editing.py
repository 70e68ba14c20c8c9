"""A declaration that is added to a spec leaves the rest of its text alone."""

from __future__ import annotations

import pytest
from strongroom.errors import ConfigurationError
from strongroom.spec.document import read_document
from strongroom.spec.editing import quoted, with_declaration

HEAD = "# a spec\nversion: 1   # the first\npipelines:\n  app: {provider: {type: memory}}\n"
TAIL = "profiles:  # below\n  test: {}\n"


def test_any_text_is_read_back_from_its_quotes():
    characters = [
        *range(0x300),
        *range(0x2000, 0x2070),
        0xFEFF,
        0xFFFD,
        0xFFFE,
        0xFFFF,
        0x1F511,
        0xE0001,
        0x10FFFF,
    ]
    texts = [f"a{chr(point)}b" for point in characters]
    listed = "".join(f"- {quoted(text)}\n" for text in texts)
    assert read_document(f"k:\n{listed}".encode()).root.data() == {"k": texts}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD, HEAD + "\nsecrets:\n  NEW: {key: NEW}\n"),
        (HEAD.rstrip("\n"), HEAD + "\nsecrets:\n  NEW: {key: NEW}\n"),
        (HEAD + "secrets:\n" + TAIL, HEAD + "secrets:\n  NEW: {key: NEW}\n" + TAIL),
        (HEAD + "secrets: # none\n", HEAD + "secrets: # none\n  NEW: {key: NEW}\n"),
        (HEAD + "secrets: {}\n", HEAD + "secrets: {NEW: {key: NEW}}\n"),
        (HEAD + "secrets: {A: {}}  # one\n", HEAD + "secrets: {A: {}, NEW: {key: NEW}}  # one\n"),
        (HEAD + "secrets: {A: {}, }\n", HEAD + "secrets: {A: {}, NEW: {key: NEW}}\n"),
        (
            HEAD + "secrets:\n  # the first\n  A: {key: a}  # at a\n  # what follows\n\n" + TAIL,
            HEAD
            + "secrets:\n  # the first\n  A: {key: a}  # at a\n  NEW: {key: NEW}\n  # what follows\n\n"
            + TAIL,
        ),
        (
            HEAD + "secrets:\n    A:\n        key: a  # at a\n        groups:\n        - one\n" + TAIL,
            HEAD
            + "secrets:\n    A:\n        key: a  # at a\n        groups:\n        - one\n    NEW: {key: NEW}\n"
            + TAIL,
        ),
        (HEAD + "secrets:\n  A:\n" + TAIL, None),
        (HEAD + "secrets:\n  A: {}", HEAD + "secrets:\n  A: {}\n  NEW: {key: NEW}\n"),
        (
            HEAD + "secrets:\n  A:\n    description: |\n      two\n      lines\n" + TAIL,
            HEAD + "secrets:\n  A:\n    description: |\n      two\n      lines\n  NEW: {key: NEW}\n" + TAIL,
        ),
        (
            HEAD + 'secrets:\n  A:\n    description: "two\n      lines"\n' + TAIL,
            HEAD + 'secrets:\n  A:\n    description: "two\n      lines"\n  NEW: {key: NEW}\n' + TAIL,
        ),
        (
            HEAD + "secrets: {\n  A: {},\n  B: {}\n}\n",
            HEAD + "secrets: {\n  A: {},\n  B: {}, NEW: {key: NEW}}\n",
        ),
        (
            HEAD + "secrets:\n  A: {default: ünï}\n",
            HEAD + "secrets:\n  A: {default: ünï}\n  NEW: {key: NEW}\n",
        ),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_rest_stays_as_it_is(before, after, line_end, mark):
    data = mark + before.replace("\n", line_end).encode()
    changed = with_declaration(data, "NEW", "NEW")
    assert list(read_document(changed).root.mapping["secrets"].mapping)[-1] == "NEW"
    if after is not None:
        assert changed == mark + after.replace("\n", line_end).encode()


@pytest.mark.parametrize(
    "before",
    [
        "{version: 1, pipelines: {}}\n",
        "version: 1\nbase: &base {A: {}}\nsecrets: *base\n",
        "version: 1\n...\n",
    ],
)
def test_what_cannot_be_added_to_is_refused_with_what_to_write(before):
    with pytest.raises(ConfigurationError) as caught:
        with_declaration(before.encode(), "NEW", "NEW")
    assert "NEW: {key: NEW}" in caught.value.hint
