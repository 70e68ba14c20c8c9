"""What a spec came to and is remembered: the same as on the whole way, or of no use."""

from __future__ import annotations

import json
import os
import random
import sys
import types
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from strongroom import SecretProviderRegistry
from strongroom.errors import ConfigurationError, SpecError, UntrustedSpecError
from strongroom.plugins import finder
from strongroom.plugins.factories import load_factory, takes_text_paths
from strongroom.plugins.installed import installed
from strongroom.runtime.frozen import NamedTuple, frozen, member
from strongroom.spec import records
from strongroom.spec.found import FoundSpec
from strongroom.spec.loader import load_plan
from strongroom.spec.locate import find_plan
from strongroom.spec.plan import ComponentPlan, Part, PipelinePlan, Plan
from strongroom.spec.recalling import Members, plan_of
from strongroom.spec.trust import state_folder

SECRET = "hunter2-s3cret-of-the-spec"
SPEC = f"""\
version: 1
pipelines:
  app:
    provider: {{type: vault, url: "${{env:T_URL:-http://127.0.0.1:1}}", token: "{SECRET}-token"}}
    middleware:
      - {{type: caching, ttl_seconds: "${{env:T_TTL:-300}}"}}
      - {{type: encryption, key: "{SECRET}-key", older_keys: ["${{file:./old.key}}"]}}
    hooks: [{{type: audit, path: audit.jsonl, key: "${{env:T_KEY:-{SECRET}-default}}"}}]
secrets:
  PASSWORD: {{key: a/b, default: "{SECRET}", min_length: 4, forbid: ["{SECRET}-forbidden"]}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("old.key").write_text("an-older-passphrase")
    for name in [name for name in os.environ if name.startswith("T_")]:
        monkeypatch.delenv(name)
    # Folders of other tests came onto the path after the plugins were looked for: nothing would be remembered.
    monkeypatch.setattr(finder, "seen", installed())
    return tmp_path / "work"


def write(text, path="strongroom.yaml"):
    Path(path).write_text(text)
    Path(path).chmod(0o644)
    return path


def kept():
    return sorted((Path.home() / ".cache" / "strongroom" / "specs").glob("*"))


def recalled_plan(spec, *, profile=None, look_up=True, only=None):
    found = records.recall(spec, profile)
    whole = lambda: load_plan(spec, profile=profile, look_up=False)  # noqa: E731  # it is handed over
    return None if found is None else plan_of(found, whole, look_up=look_up, only=only)


def paths_as_text(factory, options):
    """Return options as they are where the factory takes paths as text, and is given text or paths."""
    if not takes_text_paths(factory):
        return options
    as_text = lambda value: str(value) if isinstance(value, Path) else value  # noqa: E731  # it is used twice
    return {
        name: list(map(as_text, value)) if type(value) is list else as_text(value)
        for name, value in options.items()
    }


def shown(value):  # noqa: PLR0911  # a table of cases
    """Return what can be compared of a plan: options in place of the functions that make them."""
    if isinstance(value, ComponentPlan):
        members = {name: getattr(value, name) for name in ComponentPlan.__match_args__}
        members["factory"] = str(members["factory"])
        prepare = members.pop("prepare")
        read = lambda reference: f"/of/{reference.name}/"  # noqa: E731  # it is handed over
        try:
            members["options"] = shown(paths_as_text(members["factory"], prepare(read)))
        except SpecError as error:
            members["options"] = str(error)
        return members
    if isinstance(value, Part):
        return [value.type, value.factory, shown(value.options), sorted(value.public)]
    if isinstance(value, Plan | PipelinePlan):
        return {name: shown(getattr(value, name)) for name in type(value).__match_args__}
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(shown, value))
    if isinstance(value, list):
        return list(map(shown, value))
    if isinstance(value, BaseModel | Members):
        return shown(dict(vars(value)))
    return type(value).__name__, repr(value) if not hasattr(value, "_asdict") else value._asdict()


def whole_plan(spec, **more):
    try:
        return shown(load_plan(spec, **more))
    except ConfigurationError as error:
        return type(error).__name__


# --- what is remembered is the same ---


def test_a_remembered_plan_is_that_of_the_whole_way(folder):
    spec = write(SPEC)
    assert records.recall(spec, None) is None
    whole = shown(load_plan(spec))
    assert len(kept()) == 1
    assert shown(recalled_plan(spec)) == whole
    assert shown(recalled_plan(spec, look_up=False)) == shown(load_plan(spec, look_up=False))


def test_the_registry_takes_what_is_remembered(folder, monkeypatch):
    from strongroom.spec import loader

    write("version: 1\npipelines: {a: {provider: {type: memory}, middleware: [{type: caching}]}}\n")
    SecretProviderRegistry("strongroom.yaml").close()
    monkeypatch.setattr(loader, "load_plan", None)
    with SecretProviderRegistry("strongroom.yaml") as registry:
        registry.set_secret("a", "value")
        assert registry.get_secret("a") == "value"
    with SecretProviderRegistry() as registry:  # found, and closed
        assert registry.plan.origin == "found"


def test_references_are_looked_up_each_time_and_their_mistakes_are_those_of_the_whole_way(
    folder, monkeypatch
):
    spec = write(SPEC.replace(":-http://127.0.0.1:1", ""))
    monkeypatch.setenv("T_URL", "http://one")
    load_plan(spec)
    monkeypatch.setenv("T_URL", "http://two")
    plan = recalled_plan(spec)
    assert plan.pipelines["app"].provider.prepare(None)["url"] == "http://two"
    for wrong in ("ftp://two", ""):
        monkeypatch.setenv("T_URL", wrong)
        assert recalled_plan(spec) is None
        with pytest.raises(SpecError, match="url"):
            find_plan(spec)
        with pytest.raises(SpecError, match="url"):
            plan.pipelines["app"].provider.prepare(None)
    monkeypatch.delenv("T_URL")
    with pytest.raises(SpecError, match="T_URL is not set"):
        find_plan(spec)
    monkeypatch.setenv("T_URL", "http://two")
    for ttl, expected in {"60": 60.0, "1.5": 1.5}.items():
        monkeypatch.setenv("T_TTL", ttl)
        options = recalled_plan(spec).pipelines["app"].middleware[0].prepare(None)
        assert (options["ttl_seconds"], type(options["ttl_seconds"])) == (expected, float)
    for wrong in ("-1", "060", "soon", "1e3", "true"):
        monkeypatch.setenv("T_TTL", wrong)
        assert recalled_plan(spec) is None


SERVE = f"""\
version: 1
pipelines: {{app: {{provider: {{type: memory}}}}}}
serve:
  socket: s.sock
  tls: {{cert: c.pem, key: "~/k.pem"}}
  clients:
    - {{name: web, token: "${{env:T_KEY:-{SECRET}-default}}", allow: ["app/**"], operations: [get, list]}}
    - {{name: own, token: "{SECRET}-token", deny: [a], tenants: "*"}}
    - {{name: batch, uid: 1001, allow: ["jobs/*"], admin: true}}
"""


def test_the_section_serve_is_remembered_without_its_tokens(folder, monkeypatch):
    spec = write(SERVE)
    whole = shown(load_plan(spec))
    (record,) = kept()
    assert b"hunter2" not in record.read_bytes()
    # What does not fit is left to the whole way.
    monkeypatch.setattr(sys.modules[__name__], "load_plan", None)
    plan = recalled_plan(spec)
    assert shown(plan) == whole
    options = plan.serve.prepare(None)
    assert options["socket"] == folder / "s.sock"
    assert "hunter2" not in repr(options)
    monkeypatch.setenv("T_KEY", "another-token-0123456789")
    assert plan.serve.prepare(None)["clients"][0].token == "another-token-0123456789"


def test_a_token_that_does_not_fit_is_told_by_the_whole_way(folder, monkeypatch):
    spec = write(SERVE)
    load_plan(spec)
    monkeypatch.setenv("T_KEY", "short")
    with pytest.raises(SpecError, match="at least 16 characters"):
        recalled_plan(spec).serve.prepare(None)


def test_a_record_holds_no_value_and_no_token(folder):
    load_plan(write(SPEC))
    (record,) = kept()
    assert b"hunter2" not in record.read_bytes()
    assert b"passphrase" not in record.read_bytes()
    assert record.stat().st_mode & 0o777 == 0o600


def test_every_member_of_a_plan_is_written_down_or_refused():
    """A member that is new has to be written down as well: see `_KNOWN` and the components."""
    from strongroom.spec import recording

    assert {*Plan.__match_args__} == recording._KNOWN
    assert PipelinePlan.__match_args__ == (
        "name", "position", "provider", "fallback", "middleware", "hooks",
    )  # fmt: skip
    assert ComponentPlan.__match_args__ == (
        "kind", "type", "path", "position", "factory", "options", "prepare", "reads", "read_keys",
        "environment", "key_files", "public", "address", "parts",
    )  # fmt: skip


PROVIDERS = [
    "{type: memory}",
    "{type: env, prefix: X_}",
    '{type: env, prefix: "P_${env:T_PREFIX:-}_"}',
    "{type: file, file_path: s.enc, key_file: ./a.key}",
    '{type: file, file_path: "~/s.enc", encryption_key: "${env:T_KEY:-a passphrase}"}',
    '{type: file, file_path: "${env:T_PATH:-a/../s.enc}", key_file: k, older_keys: ["${file:old.key}", lit-key], timeout: "${env:T_TTL:-2}"}',
    '{type: vault, url: "http://127.0.0.1:1", token: "a \\"quoted\\" \\\\token\\n"}',
    "{type: vault, url: \"${env:T_URL:-https://x}\", auth: {method: approle, role_id: 'it''s', secret_id: \"${env:T_KEY:-}\", n: 1.10}}",
    '{type: vault, url: "${secret:m:url}", token: "x${secret:m:t#f}y", verify: "${env:T_VERIFY:-true}"}',
    '{type: vault, url: "http://x", proxies: {http: "${env:T_URL:-http://p}", https: lit}, kv_version: 2}',
    '{type: vault, url: "http://x", max_connections: "${env:T_TTL:-3}", list_deleted: "${env:T_FLAG:-true}"}',
    '{type: vault, url: "http://x", kv_version: "${env:T_TTL:-1}"}',
]
MIDDLEWARE = [
    "{type: caching}",
    '{type: caching, ttl_seconds: "${env:T_TTL:-9.5}", max_entries: 3}',
    "{type: caching, l2: {type: file.cache, path: c.db}, encryption: {type: aes-gcm, key: a-long-passphrase}}",
    "{type: caching, l2: {type: file.cache, path: '${env:T_PATH:-c}'}, encryption: {type: fernet, key: '${env:T_KEY:-abcdefghijk}'}}",
    "{type: validation, max_length: 4096, forbid: [changeme, 'no $${ref}']}",
    '{type: validation, key_pattern: "[a-z/]+", json_schema: {type: object, "x": [1, 2.50, null]}}',
    '{type: encryption, key: "${file:./old.key}", migrate: true}',
    "{type: encryption, cipher: {type: vault.transit, url: 'http://x', key_name: k, token: '${env:T_KEY:-t}'}}",
    "{type: retry, attempts: 2}",
    '{type: prefix, prefix: "a/"}',
    '{type: prefix, prefix: "${env:T_PREFIX:-b}/"}',
    "{type: tenant}",
    "{type: read-only}",
]
HOOKS = [
    "{type: audit, path: audit.jsonl}",
    '{type: audit, path: [a.jsonl, "${env:T_PATH:-b}.jsonl"], key: "${env:T_KEY:-some-passphrase}"}',
    '{type: audit, log_reads: "${env:T_FLAG:-false}", reason: "because: of\\tthis"}',
]
SECRETS = [
    "A: {key: a/b}", "B: {default: 5432, type: port}", "C: {key: c, field: f, required: false, groups: [web, w]}",
    'D: {pattern: "[a-z]+\\\\d", min_length: 2, max_length: 90}', "E: {one_of: [x, 7, true], forbid: [no]}",
    'F: {compose: "{{ A }}-x", description: "of A"}', "G: {generate: {length: 12, require: [lower]}, rotate_days: 3}",
    "H: {rotate: {command: [sh, -c, 'true'], grace_seconds: 5, generator: {type: hex, count: 20}}}",
    'I: {as_file: true, mask: false, deprecated: "use A", allow_placeholder: true}',
    "J: {rotate: {rotator: {type: http, url: 'https://x/', hmac_key: '${env:T_KEY:-0123456789abcdef0123456789abcdef}'}}}",
    'K: {default: "tab\\tand \\u00e9 and \\\\ back"}',
    "L:\n    default: |\n      two\n      lines",
]  # fmt: skip
VALUES = {
    "T_URL": ["http://h:1", "https://h", "ftp://h", "", "http:///"],
    "T_TTL": ["1", "2", "0", "-1", "2.5", "007", "1e2", "x", "99999999999999999999", "2.0"],
    "T_KEY": ["a-key-of-some-length", "short", "", "${env:HOME}", "é\u2028x"],
    "T_PATH": ["x/y", "/abs/../z", "~/h", "", "~nobody-at-all/x"],
    "T_PREFIX": ["p", "", "P Q", "a/b"],
    "T_FLAG": ["true", "false", "True", "1", ""],
    "T_VERIFY": ["true", "false", "/ca.pem", ""],
}


SERVED = [
    "listen: '127.0.0.1:1'",
    "socket: s.sock, socket_mode: '0660', hosts: [a.example, b], mount: team/kv, ui: true",
    "socket: '${env:T_PATH:-s}', tls: {cert: c.pem, key: '${env:T_PATH:-k}'}",
]
CLIENTS = [
    "{name: w, token: '${env:T_KEY:-0123456789abcdefg}', allow: ['**']}",
    "{name: u, uid: 5, allow: [a/*, 'b/**'], deny: [a/x], operations: [get, list], tenants: '*'}",
    "{name: v, uid: '${env:T_TTL:-7}', tenants: [acme], admin: true}",
    "{name: x, token: literal-token-0123456789, allow: ['a/${env:T_PREFIX:-b}']}",
]


def generated(rng):  # noqa: C901, PLR0912  # a table of cases
    """Return the text of a spec; most are valid."""
    names = rng.sample(["a", "b", "c"], rng.randint(1, 3))
    lines = ["version: 1", "pipelines:", "  m: {provider: {type: memory}}"]
    for name in names:
        lines += [f"  {name}:", f"    provider: {rng.choice(PROVIDERS)}"]
        if rng.random() < 0.7:
            lines += [
                "    middleware:",
                *(f"      - {one}" for one in rng.sample(MIDDLEWARE, rng.randint(1, 3))),
            ]
        if rng.random() < 0.4:
            lines.append(f"    hooks: [{rng.choice(HOOKS)}]")
    if rng.random() < 0.2:
        lines.append(f"  safe: {{fallback: {{pipelines: [{', '.join(names)}], when: [unavailable]}}}}")
    if rng.random() < 0.8:
        lines.append(f"default: {names[0]}")
    if rng.random() < 0.3:
        lines.append(f"hooks: [{rng.choice(HOOKS)}]")
    if rng.random() < 0.3:
        lines.append(f"routes: [{{prefix: x/, pipeline: {names[-1]}, strip_prefix: true}}]")
    if rng.random() < 0.2:
        lines.append("rotation_lock: {type: file.cache, path: lock.db}")
    if rng.random() < 0.7:
        chosen = [one for one in SECRETS if rng.random() < 0.4]
        lines += ["secrets:", "  A: {key: first}", *(f"  {one}" for one in chosen if not one.startswith("A"))]
    if rng.random() < 0.1:
        lines.append(f"serve: {{{rng.choice(SERVED)}, clients: [{', '.join(rng.sample(CLIENTS, 2))}]}}")
    if rng.random() < 0.2:
        lines.append("placeholders: [tbd, 'é']")
    if rng.random() < 0.3:
        lines.append(f"profiles: {{p: {{pipelines: {{m: {{middleware: [{rng.choice(MIDDLEWARE)}]}}}}}}}}")
    if rng.random() < 0.1:
        lines[rng.randrange(len(lines))] += rng.choice(["x", "]", " # end", "\t", ", z: 1"])
    return "\n".join(lines) + "\n"


def compared(seed, monkeypatch):
    """Compare both ways for a generated spec, and later for other values; tell whether it was remembered."""
    rng = random.Random(seed)
    spec = write(generated(rng), f"s{seed}.yaml")
    profile = "p" if rng.random() < 0.2 else None
    for name in VALUES:
        monkeypatch.delenv(name, raising=False)
    whole_plan(spec, profile=profile, look_up=False)  # remembers
    for trial in range(3):
        for name, values in VALUES.items() if trial else ():
            if rng.random() < 0.5:
                monkeypatch.setenv(name, rng.choice(values))
            else:
                monkeypatch.delenv(name, raising=False)
        for look_up in (True, False):
            quick = recalled_plan(spec, profile=profile, look_up=look_up)
            if quick is not None:
                assert shown(quick) == whole_plan(spec, profile=profile, look_up=look_up), (seed, spec)
    remembered = records.recall(spec, profile) is not None
    Path(spec).unlink()
    return remembered


def test_generated_specs_come_to_the_same_on_both_ways(folder, monkeypatch):
    assert sum(compared(seed, monkeypatch) for seed in range(4)) >= 1


def test_a_reference_in_a_list_is_known_to_its_text_on_both_ways(folder):
    """The option is a tuple for the provider, and a list for the middleware."""
    spec = write(
        """\
version: 1
pipelines:
  a:
    provider: {type: file, file_path: s.enc, key_file: k, older_keys: [literal-key, "${file:old.key}"]}
    middleware: [{type: encryption, key: a-passphrase, older_keys: ["${file:old.key}"]}]
"""
    )
    for plan in (load_plan(spec), recalled_plan(spec)):
        given = [one.prepare(None)["older_keys"] for one in plan.components()]
        assert [[type(key).__name__ for key in keys] for keys in given] == [
            ["str", "ReferencedText"],
            ["ReferencedText"],
        ]
        assert type(given[0]) is tuple


@pytest.mark.torture
def test_ten_thousand_generated_specs_come_to_the_same_on_both_ways(folder, monkeypatch):
    assert sum(compared(seed, monkeypatch) for seed in range(10_000)) > 5_000


# --- what is not as it was is of no use ---


def damaged(rng, whole):
    """Return the bytes of a record, damaged in one of many ways."""
    at, end = sorted(rng.randrange(len(whole)) for _ in range(2))
    match rng.randrange(6):
        case 0:
            return whole[:at]
        case 1:
            return whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :]
        case 2:
            return whole[:at] + whole[end:]
        case 3:
            return whole + rng.randbytes(rng.randrange(1, 9))
        case 4:
            return whole[:64] + whole[64:].replace(b"s.enc", b"t.enc")
        case _:
            return rng.randbytes(rng.randrange(200))


PLAIN = "version: 1\npipelines: {a: {provider: {type: file, file_path: s.enc, key_file: k}}}\n"


def test_a_damaged_record_is_of_no_use(folder):
    spec = write(PLAIN)
    load_plan(spec)
    (record,) = kept()
    whole, rng = record.read_bytes(), random.Random(16)
    for _ in range(500):
        bad = damaged(rng, whole)
        if bad != whole:
            record.write_bytes(bad)
            assert records.recall(spec, None) is None
    record.write_bytes(whole)
    assert records.recall(spec, None) is not None


def test_a_record_with_a_good_seal_that_makes_no_sense_is_of_no_use(folder):
    """An older or newer version of the same program may have written it."""
    spec = write(PLAIN)
    load_plan(spec)
    (record,) = kept()
    data = json.loads(record.read_bytes()[64:])
    key = records.seal_key(make=False)
    for expected in (
        [],
        {},
        {"modules": []},
        *({**data, name: None} for name in data),
        {**data, "pipelines": [{}]},
    ):
        body = json.dumps(expected).encode()
        record.write_bytes(records.seal(key, str(record), body) + body)
        recalled_plan(spec)  # whatever it comes to, it is not an error
        record.chmod(0o600)


def test_only_what_this_user_alone_can_write_counts(folder):
    spec = write(PLAIN)
    load_plan(spec)
    (record,) = kept()
    key = Path.home() / ".local" / "state" / "strongroom" / "records.key"
    assert key.stat().st_mode & 0o777 == 0o600
    for file in (record, key):
        for mode in (0o660, 0o604):
            file.chmod(mode)
            assert records.recall(spec, None) is None
        file.chmod(0o600)
        elsewhere = folder / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
        assert records.recall(spec, None) is None
        file.unlink()
        file.mkdir()
        assert records.recall(spec, None) is None
        load_plan(spec)  # cannot be kept, and nobody hears of it
        file.rmdir()
        os.mkfifo(file)
        assert records.recall(spec, None) is None
        file.unlink()
        elsewhere.rename(file)
        assert records.recall(spec, None) is not None
    if os.geteuid() == 0:
        os.chown(record, 12345, -1)
        assert records.recall(spec, None) is None
        os.chown(record, 0, -1)
        os.chown(key, 12345, -1)
        assert records.recall(spec, None) is None


def test_what_decides_makes_a_record_stale(folder, monkeypatch):
    from strongroom.plugins import finder

    spec = write(PLAIN)
    load_plan(spec)
    assert records.recall(spec, None) is not None
    assert records.recall(spec, "p") is None
    monkeypatch.setenv("STRONGROOM_PLUGINS", "strongroom-file")
    assert records.recall(spec, None) is None
    monkeypatch.delenv("STRONGROOM_PLUGINS")
    other = folder / "site"
    other.mkdir()
    with monkeypatch.context() as changed:
        changed.setattr("sys.path", [*sys.path, str(other)])
        assert records.recall(spec, None) is None
    with monkeypatch.context() as changed:
        changed.setattr(records, "__version__", "0")
        assert records.recall(spec, None) is None
    assert records.recall(spec, None) is not None
    (record,) = kept()
    data = json.loads(record.read_bytes()[64:])
    data["modules"][0][1][0] += 1
    body = json.dumps(data).encode()
    record.write_bytes(records.seal(records.seal_key(make=False), str(record), body) + body)
    assert records.recall(spec, None) is None
    # What is installed by now is not what the finder has looked at.
    record.unlink()
    monkeypatch.setattr(finder, "seen", ("other",))
    load_plan(spec)
    assert kept() == []


def test_a_spec_in_a_folder_that_moved_is_another_one(folder):
    spec = write(PLAIN)
    load_plan(spec)
    moved = folder.rename(folder.parent / "moved")
    os.chdir(moved)
    assert records.recall(spec, None) is None
    load_plan(spec)
    assert recalled_plan(spec).pipelines["a"].provider.prepare(None)["file_path"] == str(moved / "s.enc")


def test_what_is_made_of_a_factory_that_takes_text_gets_paths_where_it_does_not_say_so_too():
    name = "strongroom_file.provider:FileSecretProvider"
    assert takes_text_paths(name)
    assert takes_text_paths("strongroom.audit.hook:AuditLoggingHook")
    sys.modules["of_a_stranger"] = module = types.ModuleType("of_a_stranger")
    try:
        module.Own = type("Own", (load_factory(name, "file"),), {})
        assert not takes_text_paths("of_a_stranger:Own")
        assert not takes_text_paths("of_a_stranger:Absent")
    finally:
        del sys.modules["of_a_stranger"]


def test_a_home_that_is_not_there_is_not_made(folder, monkeypatch):
    absent = folder / "nonexistent"
    monkeypatch.setenv("HOME", str(absent))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    spec = write(PLAIN)
    load_plan(spec)
    assert records.recall(spec, None) is None
    assert state_folder() is None
    assert not absent.exists()
    absent.mkdir()
    load_plan(spec)
    assert records.recall(spec, None) is not None
    assert state_folder() == str(absent / ".local/state/strongroom")


def test_without_a_place_for_records_nothing_is_remembered(folder, monkeypatch):
    spec = write(PLAIN)
    for name, value in (("HOME", ""), ("XDG_CACHE_HOME", "relative"), ("XDG_CACHE_HOME", "/proc/nowhere")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            load_plan(spec)
            assert records.recall(spec, None) is None
    assert kept() == []


@pytest.mark.parametrize(
    ("name", "value"), [("HOME", ""), ("XDG_CACHE_HOME", "relative"), ("XDG_CACHE_HOME", "/dev/null")]
)
def test_without_a_place_for_records_none_is_made(folder, monkeypatch, name, value):
    """It would take 4 ms of each start in a container whose file system is read-only."""
    from strongroom.spec import recording

    monkeypatch.setattr(recording, "remember", lambda *_: pytest.fail("a record is made"))
    monkeypatch.setenv(name, value)
    load_plan(write(PLAIN))


def test_records_do_not_pile_up(folder, monkeypatch):
    from strongroom.spec import recording

    monkeypatch.setattr(recording, "_MOST_RECORDS", 3)
    for number in range(6):
        load_plan(write(PLAIN, f"{number}.yaml"))
    assert len(kept()) == 4
    for number in range(3):
        load_plan(write(f"{PLAIN}# {number}\n", "same.yaml"))
    assert len(kept()) == 4


def test_two_environments_that_use_a_spec_in_turns_keep_a_record_each(folder, monkeypatch):
    """A command that is installed for the user, and an application with an environment of its own."""
    spec = write(PLAIN)

    def environments():
        yield
        with monkeypatch.context() as other:
            other.setattr(sys, "prefix", "/another/environment")
            yield
        with monkeypatch.context() as other:
            other.setattr(sys, "path", [*sys.path, "/another/folder"])
            other.setattr(finder, "seen", installed())
            yield

    for _ in environments():
        assert records.recall(spec, None) is None
        load_plan(spec)
    for _ in environments():
        assert records.recall(spec, None) is not None
    assert len(kept()) == 3
    write(f"{PLAIN}# changed\n")
    for _ in environments():
        load_plan(spec)
        assert records.recall(spec, None) is not None
    assert len(kept()) == 3


def test_a_spec_that_was_found_is_asked_about_each_time(folder, monkeypatch):
    write(PLAIN)
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC", raising=False)
    monkeypatch.setattr("strongroom.spec.trust.roots_own", lambda *_: False)
    found = FoundSpec("strongroom.yaml")
    load_plan(found)
    assert recalled_plan(found).closed
    (folder.parent / "outside").write_text("")
    Path("k").symlink_to(folder.parent / "outside")
    assert recalled_plan(found) is None
    with pytest.raises(UntrustedSpecError):
        find_plan(found)
    assert recalled_plan("strongroom.yaml") is not None


def test_a_fallback_to_the_whole_way_refuses_a_spec_that_changed(folder, monkeypatch):
    spec = write(PLAIN.replace("key_file: k", 'key_file: k, timeout: "${env:T_TTL:-5}"'))
    load_plan(spec)
    plan = find_plan(spec)
    write(Path(spec).read_text() + "# other\n")
    monkeypatch.setenv("T_TTL", "wrong")
    with pytest.raises(ConfigurationError, match="has changed since it was read"):
        plan.pipelines["a"].provider.prepare(None)


# --- the classes that come without dataclasses ---


@frozen
class _Sample:
    name: str
    hidden: str = member(default="x", shown=False)
    more: dict = member(default_factory=dict)
    kept: tuple = member(default=(), shown=False, converter=tuple)


def test_frozen_classes_are_dataclasses_to_others():
    import copy
    import dataclasses
    import pickle

    one = _Sample("n", more={"a": 1})
    assert one == _Sample("n", "x", {"a": 1}) != _Sample("m")
    assert _Sample("n", kept=[1]).kept == dataclasses.replace(one, kept=[1]).kept == (1,)
    assert repr(one) == "_Sample(name='n', more={'a': 1})"
    assert [field.name for field in dataclasses.fields(_Sample)] == ["name", "hidden", "more", "kept"]
    assert dataclasses.asdict(one) == {"name": "n", "hidden": "x", "more": {"a": 1}, "kept": ()}
    assert dataclasses.replace(one, name="o") == _Sample("o", more={"a": 1})
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "o"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    with pytest.raises(TypeError, match="name"):
        _Sample()


def test_classes_derived_from_frozen_ones_are_dataclasses_to_others_too():
    """As descriptors of plugins, of which some take their members by name alone."""
    import copy
    import dataclasses

    class Derived(_Sample):
        __slots__ = ()

    assert dataclasses.replace(Derived("n"), name="o") == Derived("o")

    @frozen
    class ByName:
        name: str
        more: int = 1

        def __init__(self, *, name: str, more: int = 1) -> None:
            object.__setattr__(self, "name", name)
            object.__setattr__(self, "more", more)

    for slots in (False, True):

        @dataclasses.dataclass(frozen=True, slots=slots)
        class Own(ByName):
            needed: str

        one = Own("needed", name="n")
        assert copy.deepcopy(one) == dataclasses.replace(one, more=1) == one
        assert (one.name, one.more, one.needed) == ("n", 1, "needed")


def test_a_frozen_class_compiles_no_method_before_it_is_used_much_and_each_only_once():
    import inspect

    @frozen
    class Late:
        name: str

    class Heir(Late):
        __slots__ = ()

    def compiled():
        return {name for name in ("__init__", "__eq__", "__hash__") if inspect.isfunction(vars(Late)[name])}

    one = Heir("n")
    assert [one.name, Late(name="m").name] == ["n", "m"]
    assert compiled() == set()
    assert [Heir("n").name for _ in range(20)] == ["n"] * 20
    assert compiled() == {"__init__"}  # where it was found, not in the class that was asked
    assert "__init__" not in vars(Heir)
    kept = vars(Late)["__init__"]
    assert one == Heir("n") != Late("n")
    assert {Late("n"): 1}[Late("n")] == 1
    assert compiled() == {"__init__", "__eq__", "__hash__"}
    assert vars(Late)["__init__"] is kept
    assert list(inspect.signature(Late).parameters) == ["name"]


@pytest.mark.parametrize("made_before", [0, 20], ids=["its-first-objects", "its-later-objects"])
def test_a_frozen_class_takes_the_same_arguments_from_its_first_object_on(made_before):
    def sample():
        @frozen
        class Sample:
            name: str
            more: list = member(default_factory=list)
            kept: tuple = member(default=(), converter=tuple)

        for _ in range(made_before):
            Sample("n")
        return Sample

    made = sample()
    assert repr(made("n")) == repr(made(name="n")) == f"{made.__qualname__}(name='n', more=[], kept=())"
    assert made("n").more is not made("n").more
    assert made("n", [1], kept=[2]).kept == (2,)
    for values, named in [
        ((), {}),
        ((), {"more": []}),
        (("n",), {"name": "m"}),
        (("n",), {"nane": 1}),
        ((1, [], (), 4), {}),
    ]:
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            sample()(*values, **named)


class _Pair(NamedTuple):
    """Two of a kind."""

    first: int
    second: str = "x"

    def doubled(self):
        return self._replace(first=2 * self.first)


class _Empty(NamedTuple):
    pass


def test_a_named_tuple_does_what_one_of_the_standard_library_does():
    import collections
    import copy
    import inspect
    import pickle

    theirs = collections.namedtuple("_Pair", "first second", defaults=["x"])  # noqa: PYI024  # it is compared with
    for values, named in [
        ((1,), {}),
        ((1, "y"), {}),
        ((), {"first": 1}),
        ((1,), {"second": "y"}),
        ((), {"second": 1, "first": 2}),
    ]:
        one, other = _Pair(*values, **named), theirs(*values, **named)
        assert (one, hash(one), repr(one), one._asdict()) == (
            other,
            hash(other),
            repr(other),
            other._asdict(),
        )
        assert (one.first, one.second, *one) == (other.first, other.second, *other)
        assert one._replace(second="z") == other._replace(second="z")
        assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
        assert type(one.doubled()) is type(copy.copy(one)) is type(pickle.loads(pickle.dumps(one))) is _Pair
    for values, named in [
        ((), {}),
        ((), {"second": "y"}),
        ((1, "y", 2), {}),
        ((1,), {"first": 1}),
        ((1,), {"third": 1}),
    ]:
        for kind in (_Pair, theirs):
            with pytest.raises(TypeError):
                kind(*values, **named)
    assert (_Pair._fields, _Pair._field_defaults, _Pair.__match_args__) == (
        theirs._fields,
        theirs._field_defaults,
        theirs.__match_args__,
    )
    assert inspect.signature(_Pair) == inspect.signature(theirs)
    assert (_Pair._make([1, "y"]), _Pair.__doc__, _Empty()) == ((1, "y"), "Two of a kind.", ())
    with pytest.raises(TypeError, match="third"):
        _Pair(1)._replace(third=1)
    with pytest.raises(AttributeError):
        _Pair(1).first = 2
    with pytest.raises(AttributeError):
        _Pair(1).third = 2
    match _Pair(1):
        case _Pair(first, second):
            assert (first, second) == (1, "x")


def test_no_error_of_a_named_tuple_or_a_frozen_class_shows_a_value():
    for call in (
        lambda: _Pair(1, "hunter2", "hunter2"),
        lambda: _Pair(second="hunter2"),
        lambda: _Pair(1, other="hunter2"),
        lambda: _Pair(1)._replace(other="hunter2"),
        lambda: _Sample("n", other="hunter2"),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert "hunter2" not in str(caught.value)


def test_the_samples_are_specs(folder):
    assert yaml.safe_load(generated(random.Random(1)))["version"] == 1


@pytest.mark.parametrize(
    ("place", "can_be"), [("there", True), ("there/new", True), ("a file", False), ("no rights", False)]
)
def test_whether_records_are_kept_is_seen_by_the_folders(tmp_path, monkeypatch, place, can_be):
    """That of the records, and until there is a key that seals them, that of the key."""
    (tmp_path / "there").mkdir()
    (tmp_path / "a file").touch()
    (tmp_path / "no rights").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: "no rights" not in str(path))  # root has all rights
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "there"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    assert records.are_kept() is can_be
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert records.are_kept() is can_be


def test_with_a_key_that_seals_them_records_need_only_their_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert records.seal_key(make=True) is not None
    monkeypatch.setattr(os, "access", lambda path, _: "state" not in str(path).removeprefix(str(tmp_path)))
    assert records.are_kept()


def test_a_user_without_a_home_keeps_no_records(monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")
    assert not records.are_kept()


def test_a_rule_of_what_is_given_holds_for_options_that_are_remembered_with_references(folder):
    """A load that looks nothing up leaves it to the first use of the options."""
    auth = 'auth: {method: approle, role_id: r, secret_id: "${env:T_KEY:-}", unknown: 1}'
    provider = f'{{type: vault, url: "${{env:T_URL:-https://x}}", {auth}}}'
    spec = write(f"version: 1\npipelines: {{a: {{provider: {provider}}}}}\n")
    load_plan(spec, look_up=False)
    recalled = shown(recalled_plan(spec, look_up=False))
    assert "unknown" in recalled["pipelines"]["a"]["provider"]["options"]  # the error, with its place
    assert recalled == whole_plan(spec, look_up=False)
