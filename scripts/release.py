"""Make everything of a release but the upload, into `dist/`.

Wheels and sdists built twice, in other folders and under other circumstances, and compared byte by byte;
their metadata checked; installed in an empty environment, where `tests/smoke.py` passes; the licences of all
that this environment has checked; its SBOM, the notes of the release and the checksums written. Ends with
the first thing that is wrong.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from build_all import ROOT, build, committed_at, distributions
from packaging.metadata import Metadata

DIST = ROOT / "dist"
_OTHERWISE = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "77"}


def run(*command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints; its failure is ours."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_changes() -> None:
    """End where the work tree is not what is committed."""
    changed = run("git", "status", "--porcelain")
    if changed:
        sys.exit(f"the work tree has changes; commit them, or take them away:\n{changed}")


def build_twice(work: Path, epoch: str) -> list[Path]:
    """Build from this tree and from a copy elsewhere, and return the archives where both are alike."""
    shutil.rmtree(DIST, ignore_errors=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    for folder in distributions():
        build(folder, DIST, environment)
    copy = work / "copy"
    copy.mkdir()
    run("git", "worktree", "add", "--detach", str(copy), "HEAD")
    try:
        before = os.umask(0o077)
        try:
            for folder in distributions(copy):
                build(folder, work / "second", {**environment, **_OTHERWISE})
        finally:
            os.umask(before)
    finally:
        run("git", "worktree", "remove", "--force", str(copy))
    made = sorted(DIST.iterdir())
    differing = [path.name for path in made if digest(path) != digest(work / "second" / path.name)]
    if differing:
        sys.exit(f"two builds differ: {', '.join(differing)}")
    return made


def check_metadata(archives: list[Path]) -> None:
    """End where the metadata of an archive is not valid, or lacks the licence or the description."""
    for path in archives:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                name = next(one for one in wheel.namelist() if one.endswith(".dist-info/METADATA"))
                text = wheel.read(name)
                licensed = any("/licenses/LICENSE" in one for one in wheel.namelist())
        else:
            with tarfile.open(path) as sdist:
                member = next(
                    one for one in sdist.getnames() if one.count("/") == 1 and one.endswith("PKG-INFO")
                )
                extracted = sdist.extractfile(member)
                text = extracted.read() if extracted is not None else b""
                licensed = any(one.endswith("/LICENSE") for one in sdist.getnames())
        metadata = Metadata.from_email(text, validate=True)
        if not licensed or not metadata.description or metadata.license_expression is None:
            sys.exit(f"{path.name}: it lacks its licence or its description")


def install(work: Path, archives: list[Path]) -> Path:
    """Install the wheels in an empty environment, run the smoke test there, and return its interpreter."""
    python = work / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", work / "venv")
    wheels = [str(path) for path in archives if path.suffix == ".whl"]
    uv = Path(sys.executable).with_name("uv")
    run(uv, "pip", "install", "--quiet", "--python", python, "-c", "constraints.txt", *wheels)
    shutil.copy(ROOT / "tests" / "smoke.py", work / "smoke.py")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "STRONGROOM_"))}
    environment = {**kept, "HOME": str(work / "home"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    print(run(python, "-I", "smoke.py", cwd=work, environment=environment).strip())
    return python


def main() -> None:
    """Do all of it."""
    refuse_changes()
    if os.environ.get("SKIP_TESTS") == "1":
        print("the tests are skipped, as SKIP_TESTS=1 asks")
    else:
        run("make", "test")
        print("make test: passed")
    epoch = committed_at()
    version = run(sys.executable, "-c", "import strongroom; print(strongroom.__version__)").strip()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        archives = build_twice(work, epoch)
        print(f"{len(archives)} archives, two builds alike")
        check_metadata(archives)
        python = install(work, archives)
        site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        print(run(sys.executable, "scripts/licences.py", site).strip())
        run(
            Path(sys.executable).with_name("cyclonedx-py"),
            *("environment", "--output-reproducible", "--of", "JSON", "-o"),
            DIST / f"strongroom-{version}.cdx.json",
            python,
            environment={**os.environ, "SOURCE_DATE_EPOCH": epoch},
        )
    notes = run(sys.executable, "-m", "towncrier", "build", "--draft", "--version", version)
    (DIST / "RELEASE_NOTES.md").write_text(notes, encoding="utf-8")
    files = sorted(path for path in DIST.iterdir() if path.name != "SHA256SUMS")
    sums = "".join(f"{digest(path)}  {path.name}\n" for path in files)
    (DIST / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(f"strongroom {version} is ready in dist/: {len(files)} files and their SHA256SUMS")


if __name__ == "__main__":
    main()
