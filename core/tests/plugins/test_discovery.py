"""Discovery: lazily, by metadata, with every way it can go wrong told by name.

The plugins here are real distributions: folders with metadata on the path of a fresh interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections import Counter
from importlib import machinery, metadata
from pathlib import Path

import pytest
import warm_command
from strongroom.plugins.distributions import entry_points

GOOD = """
import strongroom
from pydantic import BaseModel

class Config(BaseModel):
    model_config = {"extra": "allow"}
    size: int = 3

class Provider(dict):
    def __init__(self, size): self.size = size
    def get_secret(self, key): return f"{key}:{self.size}"
    def set_secret(self, key, value): self[key] = value
    def delete_secret(self, key): del self[key]
    def list_secrets(self, prefix=""): return []

@strongroom.hookimpl
def strongroom_providers():
    yield strongroom.Plugin(name="NAME", summary="One.", config=Config, factory=Provider)
    yield strongroom.Plugin(name="NAME.part", summary="Two.", config=Config, factory="MODULE:Provider")
"""


@pytest.fixture
def install(tmp_path):
    """Put a distribution with one entry point on the path."""

    def add(distribution, name, source, version="1.0"):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(
            textwrap.dedent(source).replace("NAME", name).replace("MODULE", module)
        )
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[strongroom]\n{name} = {module}\n")

    return add


@pytest.fixture
def run(tmp_path, warm_python):
    """Run code with the installed distributions in a process of its own; return what it prints as JSON."""
    return runner([warm_python, "-c", WARM], tmp_path)


@pytest.fixture
def run_cold(tmp_path):
    """The same in a fresh interpreter: for what depends on what is imported, and when."""
    return runner([sys.executable, "-c", PRELUDE], tmp_path)


def runner(command, folder):
    def go(code, **environ):
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
        if command[0] == sys.executable:
            env["PYTHONPATH"] = str(folder)
        words = [*command[:-1], command[-1] + textwrap.dedent(code)]
        if command[0] == sys.executable:
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        else:
            done = warm_command.run(words, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return go


PRELUDE = """
import json, sys
from strongroom import SecretProviderRegistry, errors
from strongroom.plugins import finder

def load(**provider):
    return SecretProviderRegistry({"version": 1, "pipelines": {"app": {"provider": provider}}})

def failure(**provider):
    try:
        load(**provider)
    except errors.StrongroomError as error:
        return [type(error).__name__, str(error)]
"""
WARM = f"""
import os, sys
sys.path.insert(1, os.environ["HOME"])
{PRELUDE}
finder._forget()
"""


def test_a_third_partys_provider_works_by_its_name_and_by_its_parts(install, run):
    install("acme-strong", "acme", GOOD)
    out = run("""
        print(json.dumps([load(type="acme").get_secret("k"), load(type="acme.part", size=7).get_secret("k")]))
    """)
    assert out == ["k:3", "k:7"]


def test_only_the_plugins_that_a_spec_names_are_imported(install, run_cold):
    install("acme-strong", "acme", GOOD)
    install("other-strong", "other", GOOD)
    out = run_cold("""
        load(type="acme")
        print(json.dumps(sorted(name for name in sys.modules if name.endswith("_strong") or name.startswith("strongroom_"))))
    """)
    assert out == ["acme_strong"]


NAMELESS = "METADATA cannot be read, or has no name or no version"
METADATA = b"Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n"
BROKEN = {
    "-1.0.dist-info": (b"Metadata-Version: 2.1\n", b"[other]\na = b\n"),  # no name at all
    "stranger-1.0.dist-info": (b"Metadata-Version: 2.1\n", b"[strongroom]\na = b\n"),  # no name, and ours
    "stranger-2.0.dist-info": (METADATA, b"[other]\na = \xff\xfe\n"),  # not UTF-8
    "stranger-3.0.dist-info": (METADATA, b"[other]\nno equals sign\n"),
}


def test_broken_distributions_of_strangers_are_passed_over(install, run_cold, warm_python, tmp_path):
    """Everything else works, pydantic's own search notwithstanding, and `plugins` names the folders."""
    install("acme-strong", "acme", GOOD)
    for folder, (members, points) in BROKEN.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_bytes(members)
        (tmp_path / folder / "entry_points.txt").write_bytes(points)
    out = run_cold("""
        rows = [[row.distribution, row.error] for row in finder.list_components() if row.error]
        print(json.dumps([load(type="acme").get_secret("k"), load(type="memory").list_secrets(), rows]))
    """)
    assert out[:2] == ["k:3", []]
    warnings_by_folder = dict(out[2])
    assert sorted(warnings_by_folder) == sorted(BROKEN)
    assert [
        folder
        for folder in warnings_by_folder
        if not warnings_by_folder[folder].startswith(f"{tmp_path / folder} is passed over: ")
    ] == []
    shown = warm_command.run(
        [warm_python, "-c", f"{WARM}{BOTH}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=True,
    )
    table, listed = shown.stdout.split("---\n")
    for text in (table, listed):
        assert [folder for folder in BROKEN if str(tmp_path / folder) not in text] == []
        assert "acme.part" in text
    assert shown.stderr == ""


BOTH = """
from strongroom.cli import main
assert main(["plugins"]) == 0
print("---", flush=True)
assert main(["plugins", "--json"]) == 0
"""


@pytest.fixture(params=["the-standard-library", "importlib-metadata"])
def library(request, monkeypatch):
    """Return the library whose finder finds distributions: that of PyPI replaces Python's, if it is imported."""
    if request.param == "importlib-metadata":
        return pytest.importorskip("importlib_metadata")
    others = [one for one in sys.meta_path if not type(one).__module__.startswith("importlib_metadata")]
    monkeypatch.setattr(sys, "meta_path", others)
    finding = staticmethod(metadata.MetadataPathFinder.find_distributions)
    monkeypatch.setattr(machinery.PathFinder, "find_distributions", finding, raising=False)
    return metadata


def test_the_metadata_of_a_distribution_are_read_once(library, monkeypatch):
    """However many entry points it has: core has one for each of its built-in components.

    The library reads the entry points of no others, as that takes twice as long as a plain read.
    """
    real = library.PathDistribution.read_text
    read = Counter()

    def noted(self, name):
        read[str(self._path), name] += 1
        return real(self, name)

    monkeypatch.setattr(library.PathDistribution, "read_text", noted)
    points, _ = entry_points("strongroom")
    assert max(Counter(one.distribution for one in points).values()) > 1
    counts = [times for (_, name), times in read.items() if name == "METADATA"]
    assert counts
    assert max(counts) == 1
    if library is metadata:
        asked = {folder for folder, name in read if name == "entry_points.txt"}
        assert len(asked) == len({one.distribution for one in points})


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "METADATA",
            "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nLicense: MIT\n\nName: other\n\nVersion: 7\n",
        ),
        ("METADATA", "Metadata-Version: 2.1\r\nName: acme\r\nVersion: 1.0 \r\n\r\nName: other\r\n"),
        ("METADATA", "Name: acme\nName: other\nVersion: 1.0\nVersion: 2.0\nSummary: Name: a: b\n"),
        ("METADATA", "Version: 1.0\nDescription: Name: other\n        |Version: 7\nname:acme\n"),
        ("PKG-INFO", "Metadata-Version: 1.1\nName: acme\nVersion: 1.0\n"),
    ],
    ids=["plain", "of-windows", "twice", "unusual", "an-egg"],
)
def test_name_and_version_are_those_of_the_metadata(library, tmp_path, monkeypatch, file, text):
    info = tmp_path / ("acme-0.dist-info" if file == "METADATA" else "acme-0.egg-info")
    info.mkdir()
    (info / file).write_bytes(text.encode())
    (info / "entry_points.txt").write_text("[strongroom.names]\none = acme\n")
    monkeypatch.syspath_prepend(tmp_path)
    (point,), unreadable = entry_points("strongroom.names")
    assert (point.distribution, point.version, unreadable) == ("acme", "1.0", [])
    owner = library.PathDistribution(info)
    assert (owner.metadata["Name"], owner.metadata["Version"].strip()) == ("acme", "1.0")


@pytest.mark.parametrize("group", ["strongroom", "pydantic", "console_scripts"])
def test_the_entry_points_are_those_that_the_library_names(library, group):
    points, unreadable = entry_points(group)
    theirs = library.entry_points(group=group)
    assert {(one.name, one.module, one.distribution) for one in points} == {
        (one.name, one.value, one.dist.name) for one in theirs
    }
    assert unreadable == []


@pytest.mark.parametrize("first", ["Acme_Tool-2.0.dist-info", "acme.tool.egg-info"])
def test_of_two_distributions_of_one_name_the_first_on_the_path_counts(library, tmp_path, monkeypatch, first):
    """A newer one without the entry point, or what `setup.py develop` has left in the folder."""
    for name, points in (
        (first, "[other]\na = b\n"),
        ("acme_tool-1.0.dist-info", "[strongroom.names]\none = acme\n"),
    ):
        info = tmp_path / name.partition("_tool")[0] / name
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: acme-tool\nVersion: 1.0\n")
        (info / "PKG-INFO").write_text("Name: acme-tool\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path / "acme")
    assert len(entry_points("strongroom.names")[0]) == 1
    monkeypatch.syspath_prepend(tmp_path / first.partition("_tool")[0])
    assert entry_points("strongroom.names") == ([], [])


@pytest.mark.parametrize("kind", ["a-zip-file", "an-egg-that-is-a-file"])
def test_metadata_that_are_no_folder_are_read_too(library, tmp_path, monkeypatch, kind):
    """Those in a zip file have their entry points, and what is one file alone has none."""
    if kind == "a-zip-file":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
            packed.writestr("acme-1.0.dist-info/METADATA", "Name: acme\nVersion: 1.0\n")
            packed.writestr("acme-1.0.dist-info/entry_points.txt", "[strongroom.names]\none = acme\n")
        monkeypatch.syspath_prepend(tmp_path / "all.zip")
        assert entry_points("strongroom.names") == ([("one", "acme", "acme", "1.0")], [])
    else:
        (tmp_path / "acme-1.0.egg-info").write_text("Name: acme\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(tmp_path)
        assert entry_points("strongroom.names") == ([], [])


@pytest.mark.parametrize(
    "left", [None, "", "Name: acme-tool\n", "Version: 3.0\n", "Name: acme-tool\nVersion:\n"]
)
def test_what_an_interrupted_installation_left_does_not_count(library, tmp_path, monkeypatch, left):
    """It is reported, and the distribution of that name further down the path has its entry points."""
    for folder, version in (("left", "3.0"), ("whole", "1.0")):
        info = tmp_path / folder / f"acme_tool-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text("[strongroom.names]\none = acme\n")
        text = left if folder == "left" else "Name: Acme.Tool\nVersion: 1.0\n"
        if text is not None:
            (info / "METADATA").write_text(text)
        monkeypatch.syspath_prepend(tmp_path / folder)
        monkeypatch.syspath_prepend(tmp_path / "left")
    points, unreadable = entry_points("strongroom.names")
    assert points == [("one", "acme", "Acme.Tool", "1.0")]
    assert (str(tmp_path / "left/acme_tool-3.0.dist-info"), NAMELESS) in unreadable


@pytest.mark.parametrize("first", ["left", "whole"])
def test_of_one_that_only_shadows_by_its_folder_the_metadata_count(library, tmp_path, monkeypatch, first):
    """The folder of a fork is renamed by hand, say: both of their names are in their metadata."""
    for folder, name in (("left", "acme-tool"), ("whole", "acme-other")):
        info = tmp_path / folder / "acme_tool-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(f"[strongroom.names]\n{folder} = acme\n")
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(tmp_path / folder)
    monkeypatch.syspath_prepend(tmp_path / first)
    points, unreadable = entry_points("strongroom.names")
    assert {(one.name, one.distribution) for one in points} == {
        ("left", "acme-tool"),
        ("whole", "acme-other"),
    }
    assert unreadable == []


def test_where_pydantic_does_not_go_on_the_folder_is_named(run_cold, tmp_path):
    """Should its search fail again and again, the error says because of what, and how to go without."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(METADATA)
    (info / "entry_points.txt").write_bytes(b"[other]\nno equals sign\n")
    out = run_cold("""
        import pydantic.main

        def failing(name):
            raise TypeError("in the search")

        pydantic.main.create_model = failing
        print(json.dumps(failure(type="memory")))
    """)
    assert out[0] == "ConfigurationError"
    assert f"failed with TypeError; broken: {info} (TypeError)" in out[1]
    assert "PYDANTIC_DISABLE_PLUGINS=__all__" in out[1]


def test_unknown_options_are_refused_even_where_the_model_would_allow_them(install, run):
    install("acme-strong", "acme", GOOD)
    kind, message = run('print(json.dumps(failure(type="acme", szie=3)))')
    assert kind == "SpecError"
    assert "did you mean 'size'" in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("class Panic(BaseException): pass\nraise Panic('rust')", "Panic: rust"),
        ("import strongroom\n@strongroom.hookimpl\ndef strongroom_providers():\n    raise OSError('in the hook')", "OSError"),
        ("import strongroom\n@strongroom.hookimpl\ndef strongroom_providers():\n    return [3]", "gave a int"),
        ("import strongroom\n@strongroom.hookimpl\ndef strongroom_provider():\n    return []", "did you mean 'strongroom_providers'"),
        ("import strongroom\n@strongroom.hookimpl\ndef strongroom_providers(extra):\n    return []", "PluginValidationError"),
    ],
)  # fmt: skip
def test_a_broken_plugin_harms_nothing_until_it_is_named(install, run, source, expected):
    install("acme-strong", "acme", source)
    install("good-strong", "good", GOOD)
    out = run("""
        rows = {row.name: row.error for row in finder.list_components()}
        print(json.dumps([load(type="good").get_secret("k"), failure(type="acme"), rows["acme"], rows["good"]]))
    """)
    assert out[0] == "k:3"
    assert out[1][0] == "PluginError"
    assert expected in out[1][1]
    assert "acme-strong 1.0" in out[1][1]
    assert out[2] is not None
    assert out[3] is None


def test_a_plugin_that_could_not_be_read_for_a_while_is_tried_again(install, run):
    """Too many files were open in this process, say, as a registry was made."""
    once = """
    import errno, os, pathlib
    tried = pathlib.Path(os.environ["HOME"], "tried")
    if not tried.exists():
        tried.touch()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    """
    install("acme-strong", "acme", textwrap.dedent(once) + GOOD)
    out = run("""
        print(json.dumps([failure(type="acme"), load(type="acme").get_secret("k")]))
    """)
    assert "Too many open files" in out[0][1]
    assert out[1] == "k:3"


def test_twins_are_told_by_both_distributions_and_settled_by_the_allow_list(install, run):
    install("acme-strong", "acme", GOOD)
    install("acme-other", "acme", GOOD.replace("{key}:", "other:{key}:"), version="2.0")
    install("good-strong", "good", GOOD)
    kind, message = run('load(type="good"); print(json.dumps(failure(type="acme")))')
    assert kind == "PluginError"
    assert "acme-other 2.0 and acme-strong 1.0" in message
    out = run('print(json.dumps(load(type="acme").get_secret("k")))', STRONGROOM_PLUGINS="Acme_Other")
    assert out == "other:k:3"


def test_the_allow_list_shuts_out_all_but_the_listed_and_core(install, run):
    install("acme-strong", "acme", GOOD)
    out = run(
        """
        spec = {"version": 1, "pipelines": {"a": {"provider": {"type": "acme"}, "middleware": [{"type": "retry"}]}}}
        print(json.dumps([SecretProviderRegistry(spec).get_secret("k"), failure(type="memory")]))
        """,
        STRONGROOM_PLUGINS="acme-strong",
    )
    assert out[0] == "k:3"
    assert out[1][0] == "SpecError"
    assert "add strongroom-memory" in out[1][1]


def test_the_allow_list_counts_from_when_it_is_set(install, run):
    install("acme-strong", "acme", GOOD)
    out = run("""
        import os
        before = load(type="acme").get_secret("k")
        os.environ["STRONGROOM_PLUGINS"] = "strongroom-memory"
        print(json.dumps([before, failure(type="acme"), load(type="memory").list_secrets()]))
    """)
    assert out[0] == "k:3"
    assert out[1][0] == "SpecError"
    assert "provider 'acme' is shut out by STRONGROOM_PLUGINS; add acme-strong to it" in out[1][1]
    assert out[2] == []


def test_a_wrong_name_imports_no_plugin_and_still_gets_the_nearest_one(install, run_cold):
    install("acme-strong", "acme", GOOD)
    out = run_cold("""
        spec = {"version": 1, "pipelines": {"a": {"provider": {"type": "memroy"}, "middleware": [{"type": "cashing"}]}}}
        try:
            SecretProviderRegistry(spec)
        except errors.SpecError as error:
            told = str(error)
        loaded = [name for name in sys.modules if name.endswith("_strong") or name.startswith("strongroom_")]
        print(json.dumps([told, failure(type="acmee"), loaded]))
    """)
    assert "did you mean 'memory'" in out[0]
    assert "did you mean 'caching'" in out[0]
    assert "did you mean 'acme'" in out[1][1]
    assert out[2] == []


def test_a_name_that_does_not_begin_with_its_entry_points_is_unusable(install, run):
    install("acme-strong", "acme", GOOD.replace('name="NAME.part"', 'name="intruder"'))
    out = run("""
        rows = {row.name: row.error for row in finder.list_components()}
        print(json.dumps([rows["intruder"], failure(type="intruder"), failure(type="acme.part"), load(type="acme").get_secret("k")]))
    """)
    assert "its name must be 'acme'" in out[0]
    assert out[1][0] == "SpecError"
    assert out[2][0] == "SpecError"
    assert out[3] == "k:3"


def test_a_known_type_that_is_not_installed_gets_its_install_line(tmp_path, run):
    out = run("""
        import strongroom.plugins as plugins
        real = plugins.PluginFinder._all_entries
        finder._entries = [entry for entry in real(finder) if entry.name != "vault"]
        print(json.dumps([failure(type="vault"), failure(type="valt"), failure(type="zzz")]))
    """)
    assert out[0] == [
        "SpecError",
        "spec: pipelines.app.provider.type: provider 'vault' is not installed; pip install strongroom-vault",
    ]
    assert "did you mean 'vault'" in out[1][1]
    assert "known here: " in out[2][1]


def test_cores_own_are_there_without_metadata(run):
    """As in a program that was packed as modules alone."""
    found, (kind, message), (_, packed) = run("""
        import sys
        import strongroom.plugins.discovery as discovery
        discovery.entry_points = lambda group: ([], [])
        finder._forget()
        options = {"file_path": "s.enc", "key_file": "s.key"}
        told = [failure(type="file", **options)]
        sys.frozen = True
        told.append(failure(type="file", **options))
        print(json.dumps([sorted(row.name for row in finder.list_components()), *told]))
    """)
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert found == sorted(declared["project"]["entry-points"]["strongroom"])
    assert kind == "SpecError"
    assert message.endswith("provider 'file' is not installed; pip install strongroom-file")
    assert "it is not in this packed program: pip install strongroom-file where it is built" in packed


def test_a_factory_that_cannot_be_imported_or_fails_is_told_without_its_options(install, run):
    install("acme-strong", "acme", GOOD.replace("MODULE:Provider", "no_such_module:X"))
    install("fails-strong", "fails", GOOD.replace("self.size = size", "raise ValueError(f'bad {size}')"))
    out = run('print(json.dumps([failure(type="acme.part"), failure(type="fails", size=987654)]))')
    assert out[0][0] == "PluginError"
    assert "no_such_module" in out[0][1]
    assert out[1][0] == "PluginError"
    assert "987654" not in out[1][1]


EMPTY = """
import strongroom
from pydantic import BaseModel
from strongroom.plugins import CachePlugin, RotatorPlugin

class Config(BaseModel):
    pass

def nothing(*inner):
    return RETURNED

def part(kind):
    return kind(name="NAME", summary="Returns nothing.", config=Config, factory=nothing)

@strongroom.hookimpl
def strongroom_providers(): return [part(strongroom.Plugin), part(RotatorPlugin)]

@strongroom.hookimpl
def strongroom_middleware(): return [part(strongroom.Plugin), part(CachePlugin)]

@strongroom.hookimpl
def strongroom_hooks(): return [part(strongroom.Plugin)]

@strongroom.hookimpl
def strongroom_encryption(): return [part(strongroom.Plugin)]
"""
PLACES = {
    "app.provider": {"provider": {"type": "acme"}},
    "app.middleware[0]": {"provider": {"type": "memory"}, "middleware": [{"type": "acme"}]},
    "app.hooks[0]": {"provider": {"type": "memory"}, "hooks": [{"type": "acme"}]},
}


@pytest.mark.parametrize("returned", ["None", "object()"])
def test_a_factory_that_returns_no_component_is_told_by_its_place(install, run, returned):
    """Nothing else takes its place: not a cipher of our own under the key of the environment, either."""
    install("acme-strong", "acme", EMPTY.replace("RETURNED", returned))
    memory, inside = {"provider": {"type": "memory"}}, {"type": "acme"}
    pipelines = [
        *PLACES.values(),
        memory | {"middleware": [{"type": "encryption", "cipher": inside}]},
        memory | {"middleware": [{"type": "caching", "l2": inside}]},
        memory | {"middleware": [{"type": "caching", "l2": {"type": "redis"}, "encryption": inside}]},
    ]
    pipelines[-1]["middleware"][0]["l2"]["url"] = "redis://127.0.0.1:1"
    out = run(
        f"""
        def told(call):
            try:
                return [call()]
            except Exception as error:
                return [type(error).__name__, str(error)]

        outcomes = []
        for pipeline in {pipelines!r}:
            spec = {{"version": 1, "pipelines": {{"app": pipeline}}}}
            outcomes.append(told(lambda: SecretProviderRegistry(spec).set_secret("k", "v")))
        declared = {{"A": {{"key": "a", "rotate": {{"rotator": {{"type": "acme"}}}}}}}}
        spec = {{"version": 1, "pipelines": {{"app": {memory!r}}}, "secrets": declared}}
        outcomes.append(told(lambda: SecretProviderRegistry(spec).rotator("A")))
        print(json.dumps(outcomes))
        """,
        STRONGROOM_ENCRYPTION_KEY="a passphrase of the environment",
    )
    assert [kind for kind, _ in out] == ["PluginError"] * 7
    assert all("its factory returned a " in message for _, message in out)
    for place, (_, message) in zip(PLACES, out, strict=False):
        assert f"pipelines.{place}: its factory" in message


@pytest.mark.parametrize("method", ["before", "after_all"])
def test_a_factory_that_returns_an_asynchronous_hook_is_refused(install, run, method):
    """Its `before` would veto nothing, and its `after_all` record nothing."""
    hook = f"type('Hook', (), {{'before': print, 'after': print, {method!r}: wait}})()"
    source = EMPTY.replace("RETURNED", hook) + "\nasync def wait(self, event):\n    raise PermissionError\n"
    install("acme-strong", "acme", source)
    pipeline = {"provider": {"type": "memory"}, "hooks": [{"type": "acme"}]}
    out = run(f"""
        try:
            SecretProviderRegistry({{"version": 1, "pipelines": {{"app": {pipeline!r}}}}}).get_secret("k")
        except Exception as error:
            print(json.dumps([type(error).__name__, str(error)]))
    """)
    assert out[0] == "PluginError"
    assert (
        f"pipelines.app.hooks[0]: its factory returned a Hook, of which {method} must not be async" in out[1]
    )


def test_a_plugins_validator_cannot_put_a_value_into_an_error(install, run):
    source = GOOD.replace(
        "    size: int = 3",
        "    size: int = 3\n    token: str = ''\n    @__import__('pydantic').field_validator('token')\n"
        "    def check(cls, value):\n        raise ValueError(f'bad token {value}')",
    )
    install("acme-strong", "acme", source)
    kind, message = run('print(json.dumps(failure(type="acme", token="hunter2-secret")))')
    assert kind == "SpecError"
    assert "bad token" in message
    assert "hunter2" not in message


def test_what_two_distributions_provide_is_no_reason_to_reinstall_one(install, run):
    install("acme-strong", "acme", GOOD)
    install("other-strong", "acme", GOOD)
    hints = run("""
        print(json.dumps([row.hint for row in finder.list_components() if row.name == "acme"]))
    """)
    assert hints == ["uninstall one, or name the one that counts in STRONGROOM_PLUGINS"] * 2


def test_an_option_that_no_spec_could_set_is_told(install, run):
    install("acme-strong", "acme", GOOD.replace("size: int", "type: str = 'a'; size: int"))
    expected = "its config has a field 'type', which names the component itself in a spec"
    _, message = run('print(json.dumps(failure(type="acme")))')
    assert expected in message


def test_a_factory_that_fails_is_told_with_the_place_and_without_its_text(install, run):
    install("acme-strong", "acme", GOOD.replace("self.size = size", "raise ValueError('hunter2')"))
    install("other-strong", "other", GOOD.replace("__init__(self, size)", "__init__(self, length)"))
    failures = run('print(json.dumps([failure(type="acme"), failure(type="other")]))')
    assert [kind for kind, _ in failures] == ["PluginError", "PluginError"]
    assert "its factory failed with ValueError; it was raised at acme_strong.py:10" in failures[0][1]
    assert "hunter2" not in failures[0][1]
    assert "has to take every option of its config as a keyword argument" in failures[1][1]


PATHS = """
import strongroom
from pathlib import Path
from typing import NamedTuple
from pydantic import BaseModel, Field

class Pair(NamedTuple):
    one: Path
    two: Path

class Config(BaseModel):
    named: dict[str, Path]
    some: set[Path] = set()
    pair: Pair | None = None
    longest: int = Field(alias="max-length", default=1)

class Provider(dict):
    def __init__(self, named, some, pair, **more): self.parts = [named["a"], *some, *(pair or [])]
    def get_secret(self, key): return " ".join(map(str, self.parts))
    def set_secret(self, key, value): self[key] = value
    def delete_secret(self, key): del self[key]
    def list_secrets(self, prefix=""): return []

@strongroom.hookimpl
def strongroom_providers():
    yield strongroom.Plugin(name="NAME", summary="One.", config=Config, factory="MODULE:Provider")
"""


def test_every_path_of_an_option_is_relative_to_the_spec_and_a_remembered_spec_is_the_same(
    install, run, tmp_path
):
    install("acme-strong", "acme", PATHS)
    folder = tmp_path / "project"
    folder.mkdir()
    spec = folder / "strongroom.yaml"
    for more in ("", ", some: [b], pair: [c, /d]"):
        spec.write_text(
            f"version: 1\npipelines: {{app: {{provider: {{type: acme, max-length: 3, named: {{a: x}}{more}}}}}}}\n"
        )
        reads = [
            run(f"""
                with SecretProviderRegistry({str(spec)!r}) as registry:
                    public = registry.plan.pipelines["app"].provider.public
                    print(json.dumps([registry.get_secret("k"), sorted(public)]))
            """)
            for _ in range(3)
        ]
        values = [folder / "x", folder / "b", folder / "c", "/d"] if more else [folder / "x"]
        assert reads == [[" ".join(map(str, values)), ["max-length", "named", "pair", "some"]]] * 3


def test_a_path_that_is_empty_is_refused_wherever_it_stands(install, run):
    install("acme-strong", "acme", PATHS)
    _, message = run('print(json.dumps(failure(type="acme", named={"a": ""})))')
    assert "the path is empty" in message


WRONG = """
import strongroom
from pydantic import BaseModel
from strongroom.plugins import CachePlugin, RotatorPlugin

class Config(BaseModel):
    a_class: bool = False

def wrong(*inner, a_class):
    return dict if a_class else None

@strongroom.hookimpl
def strongroom_providers():
    yield strongroom.Plugin(name="NAME", summary="One.", config=Config, factory=wrong)
    yield RotatorPlugin(name="NAME.rotator", summary="One.", config=Config, factory=wrong)

@strongroom.hookimpl
def strongroom_middleware():
    yield strongroom.Plugin(name="NAME.middleware", summary="One.", config=Config, factory=wrong)
    yield CachePlugin(name="NAME.cache", summary="One.", config=Config, factory=wrong)

@strongroom.hookimpl
def strongroom_hooks():
    yield strongroom.Plugin(name="NAME.hook", summary="One.", config=Config, factory=wrong)

@strongroom.hookimpl
def strongroom_encryption():
    yield strongroom.Plugin(name="NAME.cipher", summary="One.", config=Config, factory=wrong)
"""


def test_what_a_factory_returns_has_to_be_a_component(install, run):
    """None instead of a cipher was the cipher of STRONGROOM_ENCRYPTION_KEY, instead of a lock no lock."""
    install("acme-strong", "acme", WRONG)
    told = run("""
        memory = {"type": "memory", "secrets": {"k": "v"}}
        def tried(a_class, provider=memory, **more):
            spec = {"version": 1, "pipelines": {"app": {"provider": provider, **more}}}
            lock = more.pop("lock", None)
            if lock is not None:
                spec = {"version": 1, "rotation_lock": lock, "pipelines": {"app": {"provider": memory}}}
            rotated = more.pop("rotated", None)
            if rotated is not None:
                declared = {"K": {"key": "k", "rotate_days": 1, "rotate": {"rotator": rotated}}}
                spec = {"version": 1, "secrets": declared, "pipelines": {"app": {"provider": memory}}}
            try:
                with SecretProviderRegistry(spec) as registry:
                    registry.rotation_lock()
                    if rotated is not None:
                        registry.rotator("K")
                    registry.get_secret("k")
            except errors.PluginError as error:
                return str(error)
        def all_kinds(a_class):
            def of(part):
                return {"type": f"acme{part}", "a_class": a_class}
            yield tried(a_class, provider=of(""))
            yield tried(a_class, middleware=[of(".middleware")])
            yield tried(a_class, hooks=[of(".hook")])
            yield tried(a_class, middleware=[{"type": "encryption", "cipher": of(".cipher")}])
            yield tried(a_class, middleware=[{"type": "caching", "l2": of(".cache")}])
            yield tried(a_class, middleware=[{"type": "caching", "encryption": of(".cipher"), "l2": of(".cache")}])
            yield tried(a_class, lock=of(".cache"))
            yield tried(a_class, rotated=of(".rotator"))
        print(json.dumps([list(all_kinds(False)), list(all_kinds(True))]))
    """)
    for what, errors in zip(("a NoneType", "the class dict, not an object of it"), told, strict=True):
        assert len(errors) == 8
        for error in errors:
            assert f" returned {what}; a component of the kind " in error
            assert error.startswith("spec: ")


def test_core_names_all_its_components_whichever_module_they_are_in(run):
    """And loads no other module of its own for a component that is there."""
    found, modules, wrong = run("""
        names = ["encryption", "prefix", "retry", "tenant"]
        spec = {"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}, "middleware": [{"type": "caching.x"}]}}}
        import strongroom.plugins.discovery as discovery
        finder._forget()
        loaded = lambda: sorted(one for one in sys.modules if one.startswith("strongroom.plugins.builtins_"))
        for name in loaded():
            del sys.modules[name]
        finder.find("middleware", "caching")
        first = loaded()
        try:
            SecretProviderRegistry(spec)
        except errors.SpecError as error:
            wrong = str(error)
        print(json.dumps([[finder.find("middleware", one).name for one in names], first, wrong]))
    """)
    assert found == ["encryption", "prefix", "retry", "tenant"]
    assert modules == []
    assert (
        "has no middleware 'caching.x'; it has: caching, encryption, prefix, read-only, retry, tenant, validation"
        in wrong
    )
