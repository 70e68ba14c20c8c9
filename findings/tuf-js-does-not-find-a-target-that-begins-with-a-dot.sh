#!/usr/bin/env bash
# tuf 7.0.1 (python-tuf) and tuf-js 6.0.2: of one TUF repository Python gives the file app/.env, and Node says that there is none.
# Seen: a role for the pattern app/* signs two files, app/.env and app/env. The client of python-tuf downloads both. For the first, getTargetInfo
# of tuf-js gives undefined, with no error, as for a file that nobody has published; the second it downloads. The same file is found by
# both where the pattern is app/.env or app/.*, and where the role "targets" itself signs it. The specification speaks of shell-style wildcards and
# leaves a dot at the beginning open. Guess: what is published under a pattern is there for every client, or an error says why not.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tuf==7.0.1 securesystemslib==1.6.0 cryptography==50.0.2
npm install --silent --no-fund --no-audit tuf-js@6.0.2
cat >client.mjs <<'END'
import { Updater } from "tuf-js";

const [base, folder, name] = process.argv.slice(2);
const updater = new Updater({ metadataDir: folder, targetDir: folder, metadataBaseUrl: base, targetBaseUrl: `${base}/files` });
await updater.refresh();
const info = await updater.getTargetInfo(name);
console.log(info ? await updater.downloadTarget(info, `${folder}/got`) : info);
END
cat >see.py <<'END'
import functools
import http.server
import subprocess
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import Updater

NAMES = ["app/.env", "app/env"]
signer = CryptoSigner.generate_ed25519()
end = datetime.now(timezone.utc) + timedelta(days=1)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words):
        pass


def publish(folder, pattern):
    """A repository whose files are signed by the role of the pattern, or by "targets" without a pattern."""
    root, targets, team = Root(expires=end, consistent_snapshot=False), Targets(expires=end), Targets(expires=end)
    for role in "root", "timestamp", "snapshot", "targets":
        root.add_key(signer.public_key, role)
    key = signer.public_key.keyid
    role = DelegatedRole("team", [key], 1, terminating=False, paths=[pattern or "none/*"])
    targets.delegations = Delegations({key: signer.public_key}, {"team": role})
    for name in NAMES:
        file = folder / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"hush")
        (team if pattern else targets).targets[name] = TargetFile.from_data(name, b"hush")
    snapshot, timestamp = Snapshot(expires=end), Timestamp(expires=end)
    snapshot.meta["team.json"] = MetaFile(1)
    roles = {"1.root": root, "timestamp": timestamp, "snapshot": snapshot, "targets": targets, "team": team}
    for name, signed in roles.items():
        metadata = Metadata(signed)
        metadata.sign(signer)
        metadata.to_file(str(folder / f"{name}.json"))


def by_python(base, root, name):
    folder = tempfile.mkdtemp(dir=".")
    updater = Updater(folder, f"{base}/", folder, f"{base}/files/", bootstrap=root)
    updater.refresh()
    info = updater.get_targetinfo(name)
    return Path(updater.download_target(info)).read_text() if info else None


def by_node(base, root, name):
    folder = Path(tempfile.mkdtemp(dir="."))
    (folder / "root.json").write_bytes(root)
    words = ["node", "client.mjs", base, str(folder), name]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert said.stderr == ""
    return None if said.stdout == "undefined\n" else (folder / "got").read_text()


repositories = Path("repositories")
repositories.mkdir()
handler = functools.partial(Quiet, directory=str(repositories))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def see(folder, pattern):
    publish(repositories / folder, pattern)
    base = f"http://127.0.0.1:{server.server_port}/{folder}"
    root = (repositories / folder / "1.root.json").read_bytes()
    got = {name: (by_python(base, root, name), by_node(base, root, name)) for name in NAMES}
    print(pattern or "signed by targets", got)
    return got


assert see("star", "app/*") == {"app/.env": ("hush", None), "app/env": ("hush", "hush")}
assert see("name", "app/.env") == {"app/.env": ("hush", "hush"), "app/env": (None, None)}
assert see("dot", "app/.*") == {"app/.env": ("hush", "hush"), "app/env": (None, None)}
assert see("targets", None) == {"app/.env": ("hush", "hush"), "app/env": ("hush", "hush")}
server.shutdown()
END
venv/bin/python see.py
