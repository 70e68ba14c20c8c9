#!/usr/bin/env bash
# onepasswordconnectsdk 2.1.1: load_dict and load give another field of the item than the one that was asked for.
# Seen: an item has a password of its own, and one in each of the sections "primary" and "replica", as a login item has when a section is added
# to it. "opfield": "replica.password" gives the item's own password, because a field outside of all sections is taken for one in each of
# them, and it comes first. Where the item has none of its own, the section's label gives the right one, and its id, which
# works too, gives the one of whatever section comes first. A name that no section has gives the item's own password, no error. The text
# of the item is as Connect's API documents it; the server of the test sends it. For one that asks by section: read the item by
# get_item, and pick the field by section.id. Guess: a section that is named is the section that is read.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check onepasswordconnectsdk==2.1.1
cat >see.py <<'END'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from onepasswordconnectsdk import load_dict
from onepasswordconnectsdk.client import new_client
from onepasswordconnectsdk.config import UnknownSectionAndFieldTag

VAULT = "vaultvaultvaultvaultvault1"
FIRST, SECOND = {"id": "sec1"}, {"id": "sec2"}
SECTIONS = [FIRST | {"label": "primary"}, SECOND | {"label": "replica"}]


def field(number, value, section=None):
    made = {"id": f"field{number}", "type": "CONCEALED", "label": "password", "value": value}
    return made | ({"section": section} if section else {"purpose": "PASSWORD"})


inner = [field(1, "of-primary", FIRST), field(2, "of-replica", SECOND)]
ITEMS = {"itemwithonepasswordofitsown": [field(0, "of-the-item"), *inner], "itemwithnonethatisitsownon": inner}
ITEMS = {name[:26]: fields for name, fields in ITEMS.items()}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        item = {"id": name, "title": "db", "category": "LOGIN", "vault": {"id": VAULT}, "sections": SECTIONS, "fields": ITEMS[name]}
        body = json.dumps(item).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = new_client(f"http://127.0.0.1:{server.server_port}", "token")


def see(item, path):
    try:
        return load_dict(client, {"db": {"opitem": item, "opfield": path, "opvault": VAULT}})["db"]
    except UnknownSectionAndFieldTag:
        return "an error"


paths = [".password", "primary.password", "replica.password", "sec2.password", "nowhere.password"]
own, none = ([see(item, path) for path in paths] for item in ITEMS)
server.shutdown()
for path, *values in zip(paths, own, none, strict=True):
    print(f"{path}: {values[0]}; in an item without a password of its own: {values[1]}")
assert own == ["of-the-item"] * 5
assert none == ["an error", "of-primary", "of-replica", "of-primary", "an error"]
END
venv/bin/python see.py
