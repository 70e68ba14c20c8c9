"""The rule for prose (see CONTRIBUTING), where a pattern can hold it: subject, verb, object, in the words that people use."""

import ast
import builtins
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_ENGLISH = {
    r"(?<!there )(?<!There )\b(is|are|was|were) no (?!longer|more|such|other)[\w{`'\"]": 'write "is not a …"',
    r"(?<!there )(?<!There )\b(is|are) none\b": "say what it is not",
    r"\b[aA]s of `": 'write "see `…`"',
    r"\banew\b": 'write "again" or "from scratch"',
    r"\b(is|are|was|were|be|been) (then )?told\b(?! apart)": 'write "is reported", "is shown" or "is given"',
    r"(^\W*|[.;:] )[wW]ho (?!is |has |does |was |holds what)[a-z]+s [a-z]": 'write "anyone who …" or "callers that …"',
    r"^\s*(for )?told(,| = | in )": "name the variable for what it holds",
    r"\b[wW]hoever\b": 'say who: "anyone who", "the caller", "the process that", or "no matter who"',
    r"\bstands?\b(?! for\b)": 'write "is"',
    r"\btak(es?|ing) the place of\b": 'write "replaces"',
    r"\bin place of\b": 'write "instead of"',
    r"\bin clear\b": 'write "unencrypted" or "plain"',
    r"\bbut for\b": 'write "except"',
    r"\bTells? whether\b": 'write "Return whether" or "Returns whether"',
    r"\balso where\b": 'write "even if"',
    r"\bstrangers?\b": 'say who: "another user", "a third party", "somebody else"',
    r"\b([tT]ime-out|[cC]heck sum|[pP]lug-in)s?\b": 'write "timeout", "checksum" and "plugin"',
    r"\b[sS]ay `?--[a-z]": 'write "give --…"',
}
PATTERNS = [(re.compile(pattern), advice) for pattern, advice in NOT_ENGLISH.items()]
QUOTED_AS_WRONG = re.compile(r", not \"[^\"]*\"")
TEXTS = sorted(
    file
    for pattern in (
        "*.md",
        "*.toml",
        "*/*.toml",
        "plugins/*/*.toml",
        "core/src/**/*.py",
        "changes/*.md",
        "core/src/**/*.template",
        "plugins/*/*.md",
        "plugins/*/src/**/*.py",
        "docs/**/*.md",
        "scripts/*.py",
    )
    for file in ROOT.glob(pattern)
)


def mistakes(text: str) -> list[str]:
    """Return each line of `text` that the rule forbids, with its number and what to write instead.

    What stands in quotes behind ", not" is shown as an example of what to avoid.
    """
    return [
        f"{number}: {line.strip()}: {advice}"
        for number, line in enumerate(text.splitlines(), start=1)
        for advice in _advice(line)
    ]


@functools.cache  # many a line is in hundreds of files
def _advice(line: str) -> list[str]:
    text = QUOTED_AS_WRONG.sub("", line)
    return [advice for pattern, advice in PATTERNS if pattern.search(text)]


def test_code_and_pages_are_in_plain_english() -> None:
    """No docstring, comment, message or page of what ships has one of the turns that readers stumble over."""
    assert len(TEXTS) > 300
    found = [
        f"{file.relative_to(ROOT)}:{mistake}" for file in TEXTS for mistake in mistakes(file.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("The value is no text.", True),
        ("They are no secrets.", True),
        ('f"{path} is no {kind}"', True),
        ("As of `SecretCache`.", True),
        ("It is made anew.", True),
        ("What is missing is told.", True),
        ("The version that was told last.", True),
        ("Who reads the log can guess it.", True),
        ("It waits; who asks meanwhile waits, too.", True),
        ("Says who reads the log.", False),
        ("The key is none.", True),
        ("There is no key, and there are none.", False),
        ("It is no longer there.", False),
        ('Write "is not a X", not "is no X".', False),
        ('Write "is no X", not "is not a X".', True),
        ("Absent and denied are told apart.", False),
        ("    told = error.args", True),
        ("    for told in found:", True),
        ("It told them = it said so.", False),
        ("Whoever reads it.", True),
        ("Anyone who reads it.", False),
        ("The key stands in the tag.", True),
        ("A `*` stands for any characters.", False),
        ("A standby is behind.", False),
        ("It takes the place of the file.", True),
        ("It takes its place.", False),
        ("A path in place of a value.", True),
        ("It is put in place at once.", False),
        ("Values that were kept in clear.", True),
        ("All rows but for the header.", True),
        ("Tell whether it is there.", True),
        ("It holds, also where nothing changed.", True),
        ("A stranger's folder.", True),
        ("`test_a_strangers_file_is_refused`", False),
        ("It ends at the time-out.", True),
        ("Its timeout, in seconds.", False),
        ("Say --first if they were removed.", True),
        ("Give --first to say that they were removed.", False),
    ],
)
def test_the_patterns_find_what_they_are_for(text: str, is_wrong: bool) -> None:
    """Each pattern meets its sample, and ordinary English passes."""
    assert bool(mistakes(text)) == is_wrong


SAYS_HOW_IT_CAME = {"found", "given", "made", "said", "told"}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def long_lived(source: str) -> Iterator[str]:
    """Yield each variable that lives for more than three lines under a name that does not say what it holds."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, FUNCTIONS) and any(names_in(node, SAYS_HOW_IT_CAME)):
            inner = {
                id(name)
                for one in ast.walk(node)
                if one is not node and isinstance(one, FUNCTIONS)
                for name in ast.walk(one)
            }
            lines: dict[str, list[int]] = {}
            for name in names_in(node, SAYS_HOW_IT_CAME):
                if id(name) not in inner and isinstance(name.ctx, ast.Store):
                    lines.setdefault(name.id, []).append(name.lineno)
            for name in names_in(node, set(lines)):
                lines[name.id].append(name.lineno)
            yield from (f"{min(at)}: {name}" for name, at in lines.items() if max(at) - min(at) > 3)
        elif isinstance(node, ast.For | ast.AsyncFor) and any(names_in(node.target, {"one"})):
            own = {id(name) for one in ast.walk(node) if isinstance(one, COMPREHENSIONS) for name in ast.walk(one)
                   if any(any(names_in(each.target, {"one"})) for each in one.generators)}  # fmt: skip
            uses = [name.lineno for name in names_in(node, {"one"}) if id(name) not in own]
            if max(uses) - node.lineno > 3:
                yield f"{node.lineno}: one"


def names_in(node: ast.AST, wanted: set[str]) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name) and one.id in wanted)


def test_a_variable_is_named_for_what_it_holds() -> None:
    """What lives for three lines at most may be called `found`, `made`, `given`, `said`, `told` or `one`."""
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    assert len(sources) > 300
    found = [f"{file.relative_to(ROOT)}:{line}" for file in sources for line in long_lived(file.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    found = 1\n    a = 2\n    b = 3\n    return found\n", []),
        ("def f():\n    found = 1\n    a = 2\n    b = 3\n    c = 4\n    return found\n", ["2: found"]),
        ("def f():\n    for one in a:\n        b()\n        c()\n        d(one)\n", []),
        ("def f():\n    for one in a:\n        b()\n        c()\n        d()\n        e(one)\n", ["2: one"]),
        ("def f():\n    for a in b:\n        c()\n    d()\n    e()\n    return [one for one in f]\n", []),
    ],
)
def test_long_lived_names_are_found(source: str, expected: list[str]) -> None:
    assert list(long_lived(source)) == expected


ERRORS_WITHOUT_A_WORD = {
    "core/src/strongroom/audit/hook.py: before_all",
    "core/src/strongroom/audit/verify.py: verify_pieces",
    "core/src/strongroom/pipeline/operations.py: checked_user_key",
}
"""Functions whose docstrings do not say yet what they raise."""


def raised_in(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the classes of our errors that statements raise, without those of functions inside them."""
    for one in statements:
        if isinstance(one, ast.Raise) and isinstance(one.exc, ast.Call):
            name = ast.unparse(one.exc.func).rpartition(".")[2]
            if name.endswith("Error") and name[0].isupper() and not hasattr(builtins, name):
                yield name
        elif not isinstance(one, (*FUNCTIONS, ast.ClassDef)):
            for part in ("body", "orelse", "handlers", "finalbody", "cases"):
                yield from raised_in(getattr(one, part, ()))


def unnamed_errors(source: str) -> Iterator[str]:
    """Yield each public function with a docstring that does not name an error of ours that it raises."""
    module = parsed(source)
    for holder in (module, *(one for one in module.body if isinstance(one, ast.ClassDef))):
        if not getattr(holder, "name", "").startswith("_"):
            for node in holder.body:
                text = ast.get_docstring(node) if isinstance(node, FUNCTIONS) else None
                if text is not None and not node.name.startswith("_") and not node.name.endswith("_command"):
                    yield from (node.name for name in set(raised_in(node.body)) if name not in text)


def test_a_docstring_names_the_errors_that_its_function_raises() -> None:
    """Commands are left out: their docstrings are what `--help` prints."""
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    found = {
        f"{file.relative_to(ROOT)}: {name}" for file in sources for name in unnamed_errors(file.read_text())
    }
    assert not found - ERRORS_WITHOUT_A_WORD, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f():\n    """Do it."""\n    raise LostError("gone")\n', ["f"]),
        (
            'def f():\n    """Do it.\n\n    Raises:\n        LostError: It is gone.\n    """\n    raise LostError\n',
            [],
        ),
        ('def f():\n    """Do it, or raise `LostError`."""\n    raise LostError("gone")\n', []),
        ('def _f():\n    """Do it."""\n    raise LostError("gone")\n', []),
        ('def f():\n    """Do it."""\n    raise TypeError("no text")\n', []),
        ('def f():\n    """Do it."""\n    def g():\n        raise LostError("gone")\n', []),
    ],
)
def test_errors_that_no_docstring_names_are_found(source: str, expected: list[str]) -> None:
    assert list(unnamed_errors(source)) == expected
