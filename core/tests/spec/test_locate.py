"""Where a spec is found without a name, and where the search ends."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
from pathlib import Path

import pytest
from strongroom.cli import main
from strongroom.errors import ConfigurationError, SecretNotFoundError
from strongroom.registry import SecretProviderRegistry
from strongroom.spec import locate
from strongroom.spec.found import FoundSpec, find_spec

sys.path.insert(0, str(Path(__file__).parent.parent))

from user_support import STRANGER, USER, acting_as, give  # as above

SPEC = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}
secrets:
  PASSWORD: {key: database/password, default: from the spec}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder with a spec, the current folder two below it, in a home that is another one."""
    for name, mode in (("project", 0o755), ("project/a", 0o755), ("project/a/b", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    tmp_path.chmod(0o755)
    folder = tmp_path / "project"
    (folder / "strongroom.yaml").write_text(SPEC)
    monkeypatch.chdir(folder / "a" / "b")
    return folder


def test_a_spec_above_is_found_and_its_paths_are_relative_to_it(project):
    assert find_spec() == FoundSpec(str(project / "strongroom.yaml"))
    with SecretProviderRegistry() as registry:
        registry.set_secret("database/password", "a value")
        assert registry.plan.folder == project
    assert (project / "secrets.enc").exists()
    assert (project / "app.key").exists()


def test_the_nearest_one_counts(project):
    Path("../strongroom.yaml").write_text(SPEC)
    assert find_spec() == FoundSpec(str(project / "a" / "strongroom.yaml"))
    Path("strongroom.yaml").write_text(SPEC)
    assert find_spec() == FoundSpec("strongroom.yaml")


@pytest.mark.parametrize("git", ["folder", "file", "dangling link"])
def test_a_folder_that_holds_git_is_the_last(project, git):
    place = project / "a" / ".git"
    if git == "folder":
        place.mkdir()
    elif git == "file":
        place.write_text("gitdir: elsewhere\n")
    else:
        place.symlink_to("nowhere")
    assert find_spec() is None
    (project / "a" / "strongroom.yaml").write_text(SPEC)
    assert find_spec() == FoundSpec(str(project / "a" / "strongroom.yaml"))


def test_nothing_is_looked_at_above_a_current_folder_that_holds_git(project):
    Path(".git").mkdir()
    assert find_spec() is None


def test_the_home_folder_is_the_last(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project / "a"))
    assert find_spec() is None
    monkeypatch.setenv("HOME", str(project))
    assert find_spec() == FoundSpec(str(project / "strongroom.yaml"))
    (project.parent / "link").symlink_to(project / "a")
    monkeypatch.setenv("HOME", str(project.parent / "link"))
    assert find_spec() is None


@pytest.mark.parametrize("home", ["", "/no/such/folder", "relative"])
def test_a_home_that_is_not_there_ends_no_search(project, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    assert find_spec() == FoundSpec(str(project / "strongroom.yaml"))


def test_another_file_system_is_not_looked_at(project, monkeypatch):
    elsewhere = project.stat().st_ino
    real = os.stat

    def stat(path, *args, **options):
        status = real(path, *args, **options)
        if status.st_ino != elsewhere:
            return status
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]])

    monkeypatch.setattr(locate.os, "stat", stat)
    assert find_spec() is None
    (project / "a" / "strongroom.yaml").write_text(SPEC)
    assert find_spec() == FoundSpec(str(project / "a" / "strongroom.yaml"))


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757, 0o775, 0o1775])
def test_a_spec_above_in_a_folder_that_others_may_write_is_passed_over(project, mode):
    project.parent.joinpath("strongroom.yaml").write_text(SPEC)
    # The group of the folder is one that others are in.
    if os.geteuid() == 0:
        os.chown(project, 0, STRANGER)
    elif mode & 0o020 and not mode & 0o002:
        pytest.skip("only root can give a folder to another group")
    project.chmod(mode)
    assert find_spec() == FoundSpec(str(project.parent / "strongroom.yaml"))


def test_a_spec_above_in_a_strangers_folder_is_passed_over(project):
    give(project, STRANGER)
    assert find_spec() is None


@pytest.mark.parametrize(
    ("words", "code"), [(["get", "A"], 3), (["check"], 0), (["run", "--", "true"], 2), (["trust"], 2)]
)
def test_a_spec_whose_name_ends_otherwise_is_said_not_to_be_read(nowhere, capfd, words, code):
    Path("strongroom.yml").write_text(SPEC)
    assert main(words) == code
    assert "; strongroom.yml is not read: a spec is called strongroom.yaml" in capfd.readouterr().err


def test_a_spec_that_may_not_be_read_is_not_to_be_made_again(project):
    (project / "strongroom.yaml").unlink()
    (project / "strongroom.yaml").symlink_to("strongroom.yaml")  # to itself: root may read all else
    with pytest.raises(ConfigurationError) as caught:
        SecretProviderRegistry()
    assert caught.value.message.endswith("cannot be read: Too many levels of symbolic links")
    assert caught.value.hint == "let this user read it, or name another with --spec"


def test_the_current_folder_is_looked_at_whoever_may_write_it(project):
    Path("strongroom.yaml").write_text(SPEC)
    Path().chmod(0o777)
    assert find_spec() == FoundSpec("strongroom.yaml")


def test_a_group_of_ones_own_is_nobody_else(project, monkeypatch):
    """Many systems give each user a group, and let the group write what the user makes."""
    import grp
    import pwd

    user = pwd.struct_passwd(("ann", "x", USER, 777, "", "/", ""))
    alone = grp.struct_group(("ann", "x", 777, []))
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another group")
    os.chown(project, USER, 777)
    project.chmod(0o775)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(grp, "getgrgid", lambda _: alone)
    with acting_as(USER):
        assert find_spec() == FoundSpec(str(project / "strongroom.yaml"))
        monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("ann", "x", 777, ["bob"])))
        assert find_spec() is None
        monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("staff", "x", 777, [])))
        assert find_spec() is None


def test_a_current_folder_that_is_gone_finds_nothing(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_spec() is None


def test_the_command_line_finds_it_as_well_quickly_and_wholly(project, capfd):
    assert main(["set", "database/password", "a value"]) == 0
    for _ in range(2):  # the second call remembers
        capfd.readouterr()
        assert main(["get", "database/password"]) == 0
        assert capfd.readouterr() == ("a value", "")
    Path("strongroom.yaml").write_text(SPEC)  # a nearer one counts at once
    assert main(["get", "database/password"]) == 3


def test_no_command_goes_on_with_a_spec_that_is_not_there_any_more(project, capfd):
    assert main(["set", "database/password", "a value"]) == 0
    assert main(["get", "database/password"]) == 0
    (project / "strongroom.yaml").unlink()
    assert main(["get", "database/password"]) == 3


def test_a_terminal_is_told_which_one(project, terminal):
    notice = f"using {project}/strongroom.yaml"
    assert terminal(["get", "database/password"]) == (3, notice)
    assert terminal(["set", "database/password", "a value"])[1].startswith(f"{notice} warning: ")
    assert terminal(["get", "database/password"]) == (0, notice)
    assert terminal(["get", "database/password"]) == (0, notice)  # the second time it is remembered
    assert terminal(["--json", "get", "database/password"]) == (0, "")
    os.chdir(project)
    assert terminal(["get", "database/password"]) == (0, "")
    assert terminal(["--spec", f"{project}/strongroom.yaml", "get", "database/password"]) == (0, "")


def test_what_is_not_a_terminal_is_not(project, capfd):
    assert main(["list"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("warning: there is no store ")
    assert "using" not in err


def test_a_terminal_is_told_of_the_users_own_store(nowhere, terminal):
    store = f"{os.environ['HOME']}/.local/share/strongroom/secrets.enc"
    notice = f"there is no strongroom.yaml here; using your own store, {store}"
    assert terminal(["set", "a/key", "--generate"]) == (0, f"{notice} stored 'a/key' in default")
    Path("some.env").write_text("NAME=value\n")
    code, said = terminal(["import", "some.env"])  # then its progress
    assert (code, said.startswith(notice)) == (0, True)
    assert terminal(["rotate", "a/key"]) == (0, notice)
    assert terminal(["get", "a/key"]) == (0, "")


@pytest.fixture
def terminal(capfd, monkeypatch):
    """Return a function that runs the command line with a terminal as stderr: exit code, and what that shows."""

    def run(words):
        capfd.readouterr()
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w", encoding="utf-8") as file:
            monkeypatch.setattr("sys.stderr", file)
            code = main(words)
            file.write("\n")
        said = b""
        with contextlib.suppress(OSError):  # nobody writes to it any more
            while data := os.read(ours, 10_000):
                said += data
        os.close(ours)
        lines = [line for line in said.decode().splitlines() if not line.startswith("error:")]
        return code, " ".join(lines).strip()

    return run


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Make a folder without a spec the current one."""
    monkeypatch.chdir(tmp_path)
    Path(".git").mkdir()


def test_run_starts_nothing_without_a_spec(nowhere, capfd):
    for words in (["run"], ["run", "--replace"]):
        assert main([*words, "--", "touch", "started"]) == 2
        said = capfd.readouterr().err
        assert "there is no spec here" in said
        assert "`strongroom init`" in said
        assert "--spec" in said
        assert not Path("started").exists()


def test_check_does_not_speak_of_a_spec_that_is_not_there(nowhere, capfd):
    assert main(["check"]) == 0
    assert "there is no strongroom.yaml here or above" in capfd.readouterr().err


def test_run_starts_it_all_the_same_where_that_is_asked_for(nowhere, capfd):
    for word in ("--allow-empty", "--no-mask"):
        assert main(["run", "--allow-empty", word, "--", "echo", "started"]) == 0
        assert capfd.readouterr().out == "started\n"


def test_run_starts_nothing_either_where_it_remembers_the_users_own_store(nowhere, capfd):
    assert main(["set", "a/key", "a value"]) == 0
    assert main(["get", "a/key"]) == 0  # remembered
    assert main(["run", "--", "touch", "started"]) == 2
    assert not Path("started").exists()


def test_run_goes_by_a_spec_above(project, capfd):
    assert main(["run", "--", "sh", "-c", "echo $PASSWORD"]) == 0
    assert capfd.readouterr().out == "from the spec\n"


def test_without_a_spec_python_has_the_users_own_store_still(nowhere):
    with SecretProviderRegistry() as registry, pytest.raises(SecretNotFoundError):
        registry.get_secret("a/key")
