"""What is in `deploy/` for the server: it parses, is hardened, and its spec is one."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from installed import python_with
from strongroom.spec.loader import load_plan

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_the_unit_takes_its_socket_says_when_it_is_ready_and_reloads():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(DEPLOY / "systemd/strongroom-serve.service")
    service = unit["Service"]
    assert (service["Type"], service["NoNewPrivileges"], service["ProtectSystem"]) == (
        "notify",
        "yes",
        "strict",
    )
    assert "-HUP" in service["ExecReload"]
    assert "PrivateUsers" not in service  # the users of the socket's other end would be hidden
    assert unit["Unit"]["Requires"] == "strongroom-serve.socket"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_hardened():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(DEPLOY / "systemd/strongroom-serve.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"exposure level for \S+ ([\d.]+)", done.stdout)
    if level is None:
        pytest.skip("this systemd-analyze has no --offline")
    assert float(level[1]) < 2.0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    """But that the program is not where the page installs it."""
    for name in ("strongroom-serve.service", "strongroom-serve.socket"):
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/strongroom/bin/strongroom", "/bin/true"))
    units = [str(one) for one in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, "strongroom-serve" in done.stderr) == (0, False), done.stderr


@pytest.mark.torture
@pytest.mark.parametrize("version", ["1.29", "1.32", "1.34"])
def test_the_pods_manifest_is_one_by_the_schemas_of_kubernetes(tmp_path, version):
    """With nothing in it that they do not know; 1.29 is the first whose sidecars are on without being asked for."""
    python = python_with(tmp_path, "kubernetes-validate")
    words = [
        python.with_name("kubernetes-validate"),
        "--strict",
        "-k",
        version,
        DEPLOY / "kubernetes/sidecar.yaml",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pods_spec_is_one_and_its_containers_are_closed():
    config, deployment = yaml.safe_load_all((DEPLOY / "kubernetes/sidecar.yaml").read_text())
    plan = load_plan(yaml.safe_load(config["data"]["strongroom.yaml"]), look_up=False)
    assert plan.serve is not None
    pod = deployment["spec"]["template"]["spec"]
    for one in [*pod["initContainers"], *pod["containers"]]:
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    (client,) = plan.serve.prepare(None)["clients"]
    assert client.uid == pod["containers"][0]["securityContext"]["runAsUser"]


def test_the_image_copies_what_is_there():
    text = (DEPLOY / "Dockerfile.serve").read_text()
    for name in re.findall(r"^COPY (?!--from)(.+) \./?\S*$", text, re.MULTILINE):
        for one in name.split():
            assert (DEPLOY.parent / one).exists()
    assert 'ENTRYPOINT ["strongroom", "serve"]' in text


def test_the_image_is_built_where_there_is_a_compiler():
    """`gunicorn_h1c` has no wheels; what is slim has no compiler, and is good for running alone."""
    text = (DEPLOY / "Dockerfile.serve").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == [
        "python:${PYTHON_VERSION}",
        "python:${PYTHON_VERSION}-slim",
    ]
