#!/usr/bin/env bash
# watchdog 7.1.0 and watchfiles 1.3.0: in a folder of secrets as Kubernetes mounts it, no event names a secret that changed.
# There a secret is a link to ..data/password, and a rotation replaces the link ..data by one to another folder and removes the old one.
# Seen: a watchdog handler of the folder gets events about ..data, ..2 and the folder, and none about password, through two rotations: a
# handler that waits for the name of its file never runs. watchfiles, given the path of the file, tells of the first rotation (as modified
# and deleted) and of no later one, while the path holds the newest value; given the folder it names the file both times.
# Guess: who watches a path is told that there is something else at it.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check watchdog==7.1.0 watchfiles==1.3.0
cat >see.py <<'END'
import os
import shutil
import threading
import time
from pathlib import Path

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from watchfiles import watch

mount = Path("mount").resolve()
mount.mkdir()
secret = mount / "password"


def publish(number):
    """As the kubelet does it."""
    (mount / f"..{number}").mkdir()
    (mount / f"..{number}" / "password").write_text(f"value {number}")
    (mount / "..data_tmp").symlink_to(f"..{number}")
    (mount / "..data_tmp").rename(mount / "..data")
    if number > 1:
        shutil.rmtree(mount / f"..{number - 1}")


publish(1)
secret.symlink_to("..data/password")
named, of_file, of_folder = [], [], []


class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        named.extend(os.path.basename(path) for path in (event.src_path, event.dest_path) if path)


def follow(path, seen):
    for changes in watch(path, stop_event=stop, debounce=50, step=20, rust_timeout=100, yield_on_timeout=True):
        seen.append({os.path.basename(where) for _, where in changes})


def wait(done):
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


stop = threading.Event()
observer = Observer()
observer.schedule(Handler(), str(mount))
observer.start()
threads = [
    threading.Thread(target=follow, args=arguments) for arguments in ((secret, of_file), (mount, of_folder))
]
for thread in threads:
    thread.start()
told = []
try:
    wait(lambda: of_file and of_folder)  # a time-out is yielded as no change: both watch
    for number in (2, 3):
        named.clear()
        of_file.clear()
        of_folder.clear()
        publish(number)
        wait(lambda number=number: f"..{number - 1}" in named and any("password" in one for one in of_folder))
        quiet = len(of_file) + 10
        wait(lambda quiet=quiet: len(of_file) > quiet)
        told.append((set(named), any(of_file), secret.read_text()))
finally:
    stop.set()
    observer.stop()
    for thread in threads:
        thread.join()
print(*told, sep="\n")
for number, (names, file_told, value) in zip((2, 3), told, strict=True):
    assert {"..data", f"..{number}"} <= names
    assert "password" not in names
    assert file_told == (number == 2)
    assert value == f"value {number}"
END
venv/bin/python see.py
