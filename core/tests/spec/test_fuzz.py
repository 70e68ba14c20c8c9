"""A malformed spec never shows anything but `SpecError`, and never costs much.

Work is counted, in calls of functions, so that no neighbour on the machine decides.

`make test` runs a fraction with a fixed seed; `make torture` runs all 10,000 mutations.
"""

from __future__ import annotations

import random
import sys

import pytest
from strongroom.errors import ConfigurationError, SpecError
from strongroom.plugins import finder
from strongroom.spec.document import Document, read_document
from strongroom.spec.loader import _Loader
from strongroom.spec.source import Source

SEED = 20_261_124
SPEC = rb"""# a sample
version: 1
pipelines:
  app: &app
    provider: {type: memory}
    middleware:
      - {type: retry, attempts: "${env:FUZZ_ATTEMPTS:-3}", max_seconds: 1.5}
      - {type: validation, max_length: 4096, forbid: [changeme, "hunter2-secret"]}
      - type: prefix
        prefix: "team/"
  copy:
    <<: *app
    hooks: []
  local:
    provider: {type: env, prefix: "X_${env:FUZZ_PREFIX:-}"}
  safe:
    fallback: {pipelines: [app, local], when: [not_found, unavailable]}
  named:
    provider: {type: env, prefix: "${secret:local:prefix#field}"}
default: app
routes:
  - {prefix: "dev/", pipeline: local, strip_prefix: true}
secrets:
  DATABASE_PASSWORD:
    key: database/password
    pattern: "[a-z]+$"
    type: port
    default: 5432
    generate: {length: 32}
    groups: [web, worker]
profiles:
  test: {pipelines: {app: {provider: {type: memory}, middleware: []}}}
"""
TOKENS = [
    b"${", b"}", b"${env:", b"${file:/etc/passwd}", b"${secret:app:x}", b"$${", b"&a ", b"*a", b"*app", b"!!python/object:x ",
    b"!tag ", b"<<: ", b"- ", b": ", b"? ", b"[", b"]", b"{", b"}", b"\n", b"\t", b"'", b'"', b"|\n", b">-\n", b"%YAML 9.9\n",
    b"---\n", b"...\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"1e999", b"-0", b"0600", b"~", b"null",
    b"true", b"99999999999999999999", b"version: 1\n", b"type: memory", b"pipelines:\n", b"default: 7\n", b"[" * 60, b"{a: " * 60,
]  # fmt: skip


def mutated(random_: random.Random) -> bytes:
    """Return the sample with one to six mutations."""
    data = bytearray(SPEC)
    for _ in range(random_.randint(1, 6)):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(7):
            case 0:
                data[at:at] = random_.choice(TOKENS)
            case 1:
                del data[at : at + random_.randint(1, 30)]
            case 2:
                data[at : at + 1] = bytes([random_.randrange(256)])
            case 3:
                start = random_.randrange(len(data) + 1)
                data[at:at] = data[start : start + random_.randint(1, 60)]
            case 4:
                lines = bytes(data).split(b"\n")
                random_.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 5:
                data[at : at + random_.randint(1, 12)] = random_.choice(TOKENS)
            case _:
                line = bytes(data).split(b"\n")
                index = random_.randrange(len(line))
                line[index] = b"  " * random_.randrange(4) + line[index].strip()
                data = bytearray(b"\n".join(line))
    return bytes(data)


def load(data: bytes, folder: object, profile: str | None) -> None:
    """Load as the registry would, without a file."""
    document: Document = read_document(data)
    loader = _Loader(Source("fuzz.yaml", folder, document), profile, finder)  # type: ignore[arg-type]  # a document in place of a path
    loader.look_up = True
    loader.plan()


class Calls:
    """Counts the calls of functions within it, Python's own and those of C."""

    def __enter__(self):
        self.number = 0
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _count(self, _frame, event, _argument):
        self.number += event in {"call", "c_call"}


def run_mutations(first: int, count: int, tmp_path) -> None:
    for number in range(first, first + count):
        random_ = random.Random(SEED + number)  # reproducible, not secret
        data = mutated(random_)
        profile = random_.choice([None, "test"])
        refused = None
        with Calls() as calls:
            try:
                load(data, tmp_path, profile)
            except (SpecError, ConfigurationError) as error:
                refused = error
        if isinstance(refused, SpecError):
            assert refused.problems, number
            assert "hunter2-secret" not in str(refused), number
        elif refused is not None:
            assert "no profile" in str(refused), number  # only that is not a SpecError
        assert calls.number < 200_000, f"mutation {number} took too much work"


@pytest.mark.parametrize("part", range(4))
def test_mutated_specs_raise_nothing_but_spec_errors(part, tmp_path):
    run_mutations(part * 250, 100, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_mutated_specs(part, tmp_path):
    run_mutations(part * 500, 500, tmp_path)


def bombs(size):
    """Return specs that would cost more than their length; `size` says how large those that are dear to read are."""
    return [
        b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 10)) for i in range(12)
        ),
        b"[" * 500_000,
        b"{a: " * 200_000,
        b"- " * 300_000,
        b"&a [*a]",
        b"a: &a {<<: *a}",
        b"version: 1\n" + b"x: 1\n" * 40 * size,
        b"? " * 200_000,
        b"&x " * 300_000,
        b"'" * 900_000,
        b"#" * 1_000_000,
        b"a" * 2_000_000,
        b"version: 1\npipelines:\n"
        + b"".join(b"  p%d: {fallback: {pipelines: [p%d, p%d]}}\n" % (i, i + 1, i + 2) for i in range(size)),
        b"version: 1\npipelines:\n"
        + b"".join(
            b"  p%d: {provider: {type: memory}, middleware: [{type: retry}]}\n" % i for i in range(size)
        ),
    ]


@pytest.mark.parametrize(
    "bomb",
    [*bombs(250), *(pytest.param(bomb, marks=pytest.mark.torture) for bomb in bombs(1000))],
    ids=range(28),
)
def test_bombs_cost_work_in_proportion_to_their_length(bomb, tmp_path):
    with Calls() as calls:
        try:
            load(bomb, tmp_path, None)
        except SpecError:
            pass
        else:
            assert b"type: memory" in bomb
    assert calls.number < 20_000 + 30 * len(bomb)
