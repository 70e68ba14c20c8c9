#!/usr/bin/env bash
# git-crypt 0.7.0 (Debian 12) with pygit2 1.21.0, isomorphic-git 1.44.19 and dulwich 1.2.21: a file that git encrypts is committed in clear by two libraries.
# Seen: .gitattributes has `secrets.env filter=git-crypt`. `git commit` and dulwich store the ciphertext. pygit2 (libgit2) and isomorphic-git store
# the password as it is, with no error or warning: they run no filter that is another program. `git status` calls the
# file modified afterwards, and `git-crypt status` says the file was "committed before the .gitattributes file was in effect", which is not so. The
# other way round pygit2 writes the ciphertext into the work tree, where a program expects the password. So a bot that commits through either
# pushes the secret, and a new version of it does not take the old one out of the history.
# Guess: what a repository asks for by its attributes holds for each program that commits. To do: commit such files by `git` itself, or
# encrypt the file before it is in the work tree (as sops does), and let CI run `git-crypt status`, which names such files.
# Ends with 0 where that is still so. Needs git, and Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pygit2==1.21.0 dulwich==1.2.21
npm install --silent --no-fund --no-audit isomorphic-git@1.44.19
apt-get download -q git-crypt=0.7.0-0.1 >/dev/null 2>&1
dpkg -x git-crypt_*.deb root
export PATH="$work/root/usr/bin:$PATH"
cat >commit.mjs <<'END'
import fs from "node:fs";
import git from "isomorphic-git";

const author = { name: "app", email: "app@example.org" };
await git.add({ fs, dir: ".", filepath: "secrets.env" });
await git.commit({ fs, dir: ".", message: "by isomorphic-git", author });
END
cat >see.py <<'END'
import os
import subprocess
from pathlib import Path

import pygit2
from dulwich import porcelain

SECRET = Path("secrets.env")
os.chdir("repository")


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True).stdout


def by_git():
    git("add", "secrets.env")
    git("commit", "-m", "by git")


def by_dulwich():
    porcelain.add(".", ["secrets.env"])
    porcelain.commit(".", message="by dulwich", author="app <app@example.org>", committer="app <app@example.org>")


def by_pygit2():
    opened = pygit2.Repository(".")
    opened.index.add("secrets.env")
    opened.index.write()
    who = pygit2.Signature("app", "app@example.org")
    opened.create_commit("HEAD", who, who, "by pygit2", opened.index.write_tree(), [opened.head.target])


def by_isomorphic_git():
    subprocess.run(["node", "../commit.mjs"], check=True)


git("init", "-q", ".")
git("config", "user.name", "app")
git("config", "user.email", "app@example.org")
git("crypt", "init")
Path(".gitattributes").write_text("secrets.env filter=git-crypt diff=git-crypt\n")
git("add", ".gitattributes")
git("commit", "-m", "rules first")
stored = {}
for number, commit in enumerate((by_git, by_dulwich, by_pygit2, by_isomorphic_git)):
    SECRET.write_text(f"PASSWORD=hush{number}\n")
    commit()
    name = git("log", "-1", "--format=%s").decode().strip()
    blob = git("cat-file", "blob", "HEAD:secrets.env")
    assert not number or blob != git("cat-file", "blob", "HEAD~1:secrets.env")
    stored[name] = "encrypted" if blob.startswith(b"\0GITCRYPT") else blob.decode().strip()
    print(f"{name}: {stored[name]}; git status: {git('status', '--porcelain').decode().strip() or 'clean'}")
blamed = subprocess.run(["git-crypt", "status", "secrets.env"], capture_output=True, text=True)
git("reset", "-q", "--hard", "HEAD~2")
SECRET.unlink()
pygit2.Repository(".").checkout_head(strategy=pygit2.enums.CheckoutStrategy.FORCE)
print("checked out by pygit2:", SECRET.read_bytes()[:9])
assert stored == {
    "by git": "encrypted", "by dulwich": "encrypted", "by pygit2": "PASSWORD=hush2", "by isomorphic-git": "PASSWORD=hush3",
}
assert "before the .gitattributes file was in effect" in blamed.stdout + blamed.stderr
assert SECRET.read_bytes().startswith(b"\0GITCRYPT")
END
mkdir repository
venv/bin/python see.py
