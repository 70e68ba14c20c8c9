"""What is special about the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from strongroom.errors import ConfigurationError, SecretNotFoundError, ValidationError
from strongroom.providers import BatchReader, Closeable, capabilities
from strongroom_env import EnvSecretProvider
from strongroom_env.config import EnvConfig
from strongroom_env.plugin import strongroom_providers


def test_capabilities():
    """The environment reads batches and pretends nothing else."""
    assert capabilities(EnvSecretProvider()) == {BatchReader, Closeable}


def test_the_seed_example(monkeypatch):
    """A variable that somebody exported is read under the lower-case key."""
    monkeypatch.setenv("APP_SECRET_DATABASE_PASSWORD", "value")
    provider = EnvSecretProvider(prefix="APP_SECRET_")
    assert provider.get_secret("database_password") == "value"
    assert "database_password" in provider.list_secrets("database_")


def test_variables_of_other_tools_are_listed_by_their_key():
    """What no key names is left out; what one does is listed."""
    environ = {"P_TOKEN": "1", "P_lower": "2", "P_": "3", "P_A_0XZ": "4", "OTHER": "5", "P_A_0X2F_B": "6"}
    assert EnvSecretProvider("P_", environ=environ).list_secrets() == ["a/b", "token"]


def test_an_empty_prefix_is_the_whole_environment():
    """Without a prefix, names are keys in upper case."""
    provider = EnvSecretProvider("", environ={"TOKEN": "1"})
    assert provider.list_secrets() == ["token"]
    assert provider.get_secret("token") == "1"


def test_children_inherit_what_was_set(monkeypatch):
    """A write changes the environment of this process and of those that it starts."""
    monkeypatch.setenv("CHILD_TOKEN", "before")
    EnvSecretProvider("CHILD_").set_secret("token", "wörd")
    source = "import os; print(ascii(os.environ['CHILD_TOKEN']))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii("wörd")


def test_bytes_that_are_no_text(monkeypatch):
    """A binary variable of another tool is a clear error, never "not found"."""
    monkeypatch.setitem(os.environb, b"BINARY_KEY", b"\xff\xfe")
    provider = EnvSecretProvider("BINARY_")
    assert provider.list_secrets() == ["key"]
    for call in (lambda: provider.get_secret("key"), lambda: provider.get_secrets(["key"])):
        with pytest.raises(ValidationError, match="not text") as caught:
            call()
        assert (caught.value.key, caught.value.provider) == ("key", "env")


def test_a_process_without_utf8():
    """Where the process's encoding lacks a character, the error holds no value, nor does its context."""
    source = (
        "from strongroom_env import EnvSecretProvider\n"
        "from strongroom.errors import ValidationError\n"
        "try:\n"
        "    EnvSecretProvider().set_secret('key', 'w\\u00f6rd')\n"
        "except ValidationError as error:\n"
        "    print(error.key, error.__context__, error.__cause__)\n"
    )
    environ = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PATH": os.defpath}
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", source],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "key None None"


def test_not_found_says_which_variable_to_set():
    """The hint names the variable."""
    with pytest.raises(SecretNotFoundError, match="P_A_0X2F_B"):
        EnvSecretProvider("P_", environ={}).get_secret("a/b")


@pytest.mark.parametrize("prefix", ["A=B", "A\0", "\ud800", None, 5])
def test_impossible_prefix(prefix):
    """A prefix that no name can start with is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        EnvSecretProvider(prefix)


def test_config_and_constructor_agree():
    """The options of the descriptor are the constructor's own."""
    (plugin,) = strongroom_providers()
    provider = plugin.load()(**EnvConfig(prefix="X_").model_dump())
    assert repr(provider) == "<EnvSecretProvider prefix='X_'>"
    assert plugin.name == provider.type_name
