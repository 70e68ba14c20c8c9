#!/usr/bin/env bash
# git 2.39.5 (Debian 12) with dulwich 1.2.21: a password that one credential helper fetches from a vault is written into the plain file of another helper.
# Seen: `credential.helper` names two helpers: a program that prints the password as it is in the vault, and `store`, which an older configuration named. After a `git ls-remote`
# that worked, the file of `store` has the password, whichever of the two comes first: git tells all helpers to keep what worked. With `store` first, git then asks the file alone,
# so that after a rotation the next command is "Authentication failed", though the vault has the right password: git tells both helpers to erase it, and asks neither again.
# The command after that works, and writes the new password into the file. With the program first, each command works, and the file follows.
# To do: an empty `credential.helper =` before the program's line, which drops the helpers of other files. Guess: what a helper gave stays with that helper.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check dulwich==1.2.21
for package in git=1:2.39.5-0+deb12u3 libcurl3-gnutls; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >vault.sh <<'END'
#!/bin/sh
# a credential helper that prints what is in the vault now, and notes what it was asked to do
echo "$1" >>asked
[ "$1" != get ] || printf 'username=app\npassword=%s\n' "$(cat vault)"
END
chmod 755 vault.sh
cat >see.py <<'END'
import base64
import glob
import os
import subprocess
import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

folder = Path.cwd()
password = {"server": "first"}
repository = Repo.init_bare("repository", mkdir=True)
answer = make_wsgi_chain(DictBackend({"/": repository}))


class Quiet(WSGIRequestHandler):
    def log_message(self, *words):
        pass


def application(environ, start_response):
    wanted = "Basic " + base64.b64encode(f"app:{password['server']}".encode()).decode()
    if environ.get("HTTP_AUTHORIZATION") != wanted:
        start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"'), ("Content-Length", "0")])
        return [b""]
    return answer(environ, start_response)


server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
environment = {
    "PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries, "HOME": str(folder / "home"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
    "GIT_EXEC_PATH": str(folder / "root/usr/lib/git-core"),
}
vault, store = f"{folder}/vault.sh", f"store --file {folder}/stored"


def set_up(*helpers):
    """The vault and the server have the first password, and nothing is stored."""
    password["server"] = "first"
    Path("vault").write_text("first")
    Path("stored").unlink(missing_ok=True)
    Path("home").mkdir(exist_ok=True)
    Path("home/.gitconfig").write_text("[credential]\n" + "".join(f'\thelper = "{one}"\n' for one in helpers))


def rotate():
    password["server"] = "second"
    Path("vault").write_text("second")


def git():
    """Whether git gets in, what the file has afterwards, and what the vault's helper was asked for."""
    Path("asked").write_text("")
    words = ["root/usr/bin/git", "ls-remote", f"http://127.0.0.1:{server.server_port}/"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    kept = Path("stored").read_text() if Path("stored").exists() else ""
    said = "in" if done.returncode == 0 else done.stderr.split(" for ")[0].strip()
    return said, [line.split("@")[0].partition("//")[2] for line in kept.splitlines()], Path("asked").read_text().split()


seen = {}
for name, helpers in {"vault first": (vault, store), "store first": (store, vault), "store, empty, vault": (store, "", vault)}.items():
    set_up(*helpers)
    seen[name] = [git(), git()]
    rotate()
    seen[name] += [git(), git()]
    print(f"{name}:", *seen[name], sep="\n    ")
server.shutdown()
first, second, worked = ["app:first"], ["app:second"], ["get", "store"]
assert seen["vault first"] == [("in", first, worked)] * 2 + [("in", second, worked)] * 2
assert seen["store first"] == [
    ("in", first, worked), ("in", first, ["store"]), ("fatal: Authentication failed", [], ["erase"]), ("in", second, worked),
]
assert seen["store, empty, vault"] == [("in", [], worked)] * 4
END
venv/bin/python see.py
