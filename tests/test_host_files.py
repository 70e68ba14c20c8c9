"""The files of the how-to pages that other programs read: workflows, units, manifests, compose files."""

from __future__ import annotations

import http.server
import importlib.resources
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from jsonschema import validators
from strongroom.spec.loader import load_plan

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from doc_pages import DOCS, write_files

BIN = Path(sys.executable).parent
HOW_TO = DOCS / "how-to"


def mistakes(schema, data):
    """Return what the schema of that name, of the check-jsonschema distribution, says against `data`."""
    text = (
        importlib.resources.files("check_jsonschema") / f"builtin_schemas/vendor/{schema}.json"
    ).read_text()
    judge = validators.validator_for(json.loads(text))(json.loads(text))
    return [error.message for error in judge.iter_errors(data)]


# --- GitHub Actions ---


@pytest.fixture
def workflow(tmp_path):
    write_files(HOW_TO / "github-actions.md", tmp_path)
    found = yaml.safe_load((tmp_path / ".github/workflows/deploy.yml").read_text())
    found["on"] = found.pop(True)  # YAML 1.1 takes that word for a boolean
    return found


def test_the_workflow_is_one(workflow):
    """By the schema of workflows; and it asks for no right that it does not use."""
    assert mistakes("github-workflows", workflow) == []
    assert mistakes("github-workflows", workflow | {"job": {}})
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}


@pytest.fixture
def issuer():
    """The address of a server that gives tokens as GitHub does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            right = self.headers["Authorization"] == "bearer asker" and "audience=https://vault" in self.path
            self.send_response(200 if right else 403)
            self.end_headers()
            self.wfile.write(b'{"value": "header.claims.signature"}')

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
        server.shutdown()
        thread.join()


def test_the_steps_of_the_workflow_do_what_they_say(workflow, issuer, tmp_path, warm_strongroom):
    """Each is run as the runner does, with a store in memory in place of Vault."""
    spec = yaml.safe_load((tmp_path / "strongroom.yaml").read_text())
    values = {
        "deploy/token": "correct horse battery",
        "index/password": "staple",
        "registry/password": "sesame open",
    }
    spec["pipelines"]["app"]["provider"] = {"type": "memory", "secrets": values}
    (tmp_path / "strongroom.yaml").write_text(json.dumps(spec))
    scripts = {
        "deploy.sh": 'echo "deploying with ${#DEPLOY_TOKEN} characters: $DEPLOY_TOKEN"',
        "login.sh": 'read -r password || true; echo "logging in with ${#password} characters"',
        "build.sh": 'echo "building with ${#INDEX_PASSWORD} characters"',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "temp").mkdir()
    variables = {
        "PATH": f"{Path(warm_strongroom).parent}:{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "GITHUB_ENV": str(tmp_path / "env"),
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "ACTIONS_ID_TOKEN_REQUEST_URL": issuer,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "asker",
        **workflow["env"],
    }
    assert workflow["defaults"]["run"]["shell"] == "bash"
    wrote = ""
    for step in workflow["jobs"]["deploy"]["steps"]:
        if "run" not in step or step["run"].startswith("pip install"):
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=tmp_path, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (step, done.stderr)
        wrote += done.stdout + done.stderr
        if (tmp_path / "env").exists():  # as the runner reads it, for the next step
            variables |= dict(
                re.findall(r"^(\w+)<<(?:\S+)\n(.*?)\n\S+$", (tmp_path / "env").read_text(), re.MULTILINE)
            )
    assert (tmp_path / "temp" / "vault.jwt").read_text() == "header.claims.signature"
    assert (tmp_path / "temp" / "vault.jwt").stat().st_mode & 0o777 == 0o600
    assert "deploying with 21 characters: ********" in wrote
    assert "logging in with 11 characters" in wrote
    assert "building with 6 characters" in wrote
    assert "::add-mask::staple" in wrote
    assert "DEPLOY_TOKEN" not in (tmp_path / "env").read_text()


def test_the_spec_of_the_workflow_reads_the_token_that_was_asked_for(tmp_path):
    write_files(HOW_TO / "github-actions.md", tmp_path)
    plan = load_plan(tmp_path / "strongroom.yaml", look_up=False)
    assert set(plan.environment()) == {"RUNNER_TEMP"}


# --- systemd ---


@pytest.fixture
def unit(tmp_path):
    """The unit's file, with programs that are there, and the folder of its page."""
    write_files(HOW_TO / "systemd.md", tmp_path)
    path = tmp_path / "app.service"
    path.write_text(path.read_text().replace("/opt/app/bin/", f"{BIN}/"))
    return path


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@needs_systemd
def test_the_unit_is_one_and_is_hardened(unit):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "app.service" in line]) == (0, [])
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=False
    )
    level = re.search(r"exposure level for \S+ ([\d.]+)", done.stdout)
    if level is None:
        pytest.skip("this systemd-analyze has no --offline")
    assert float(level[1]) < 2.0


def test_the_units_program_gets_its_credentials(unit, tmp_path, warm_strongroom):
    """In a folder as systemd makes it: of the service's user alone, and not to be written to."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name, text in {"database_password": "correct horse battery", "store.key": "unused"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o400)
    folder.chmod(0o500)
    [line] = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    words = line.split()
    assert (Path(words[0]).name, words[1:3]) == ("strongroom", ["run", "--"])
    code = "import os; print(len(os.environ['DATABASE_PASSWORD']), 'CREDENTIALS_DIRECTORY' in os.environ)"
    done = subprocess.run(
        [warm_strongroom, "run", "--", sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8",
            "CREDENTIALS_DIRECTORY": str(folder), "STRONGROOM_SPEC": str(tmp_path / "strongroom.yaml"),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    folder.chmod(0o700)  # for whoever tidies up
    assert (done.returncode, done.stdout, done.stderr) == (0, "21 False\n", "")


# --- Kubernetes ---


@pytest.fixture
def manifests(tmp_path):
    write_files(HOW_TO / "kubernetes.md", tmp_path)
    return list(yaml.safe_load_all((tmp_path / "app.yaml").read_text()))


def test_the_pod_is_closed_and_reads_what_is_mounted(manifests):
    config, deployment = manifests
    spec = yaml.safe_load(config["data"]["strongroom.yaml"])
    assert load_plan(spec, look_up=False).secrets
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert set(mounts) == {one["name"] for one in pod["volumes"]}
    assert spec["pipelines"]["app"]["provider"] == {"type": "directory", "path": mounts["secrets"]}
    assert container["env"] == [{"name": "STRONGROOM_SPEC", "value": f"{mounts['spec']}/strongroom.yaml"}]
    assert not any("subPath" in one for one in container["volumeMounts"])
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    [secret] = [one["secret"] for one in pod["volumes"] if "secret" in one]
    assert secret["defaultMode"] & 0o007 == 0


@pytest.mark.torture
def test_the_manifests_fit_the_schemas_of_kubernetes(manifests):
    """The distribution with its schemas has 100 megabytes, so it is not among what `make setup` installs."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for one in [
        *manifests,
        *yaml.safe_load_all((DOCS.parent / "deploy/kubernetes/sidecar.yaml").read_text()),
    ]:
        kubernetes_validate.validate(one, "1.32", strict=True)


# --- Compose ---


def test_the_compose_file_is_one(tmp_path):
    write_files(HOW_TO / "docker.md", tmp_path)
    compose = yaml.safe_load((tmp_path / "compose.yaml").read_text())
    assert mistakes("compose-spec", compose) == []
    assert mistakes("compose-spec", compose | {"service": {}})
    plan = load_plan(tmp_path / "strongroom.yaml", look_up=False)
    assert {one.key for one in plan.secrets.values()} == set(compose["services"]["app"]["secrets"])
    for name in compose["services"]["app"]["build"]["args"]["BACKENDS"].split():
        assert (DOCS.parent / "plugins" / name / "pyproject.toml").exists()
