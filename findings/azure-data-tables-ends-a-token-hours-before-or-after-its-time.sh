#!/usr/bin/env bash
# azure-data-tables 12.7.0: a SAS token ends at another hour than the expiry that it was made with, if that has another zone than UTC.
# Seen: for noon in a zone five hours west of UTC, generate_table_sas and generate_account_sas write se=12:00:00Z: the zone is left out, and a
# token for the next hour has ended before it is made. azure-storage-blob 12.31.1 and -queue 12.18.1, which make the same kind of token, write
# 17:00:00Z, and so does @azure/data-tables 13.3.2 of npm. The docstrings of azure-data-tables say that the value is converted to UTC, and
# nothing warns; east of UTC the end is hours late instead. For programs
# that hand out tokens for tables: pass expiry.astimezone(timezone.utc). Guess: all packages of Azure write one moment in one way.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check azure-data-tables==12.7.0 azure-storage-blob==12.31.1 azure-storage-queue==12.18.1
npm install --silent --no-fund --no-audit @azure/data-tables@13.3.2
cat >see.mjs <<'END'
import { AzureNamedKeyCredential, generateTableSas } from "@azure/data-tables";

const [key, when] = process.argv.slice(2);
console.log(generateTableSas("t", new AzureNamedKeyCredential("account", key), { permissions: { query: true }, expiresOn: new Date(when) }));
END
cat >see.py <<'END'
import base64
import subprocess
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

import azure.data.tables as tables
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import generate_blob_sas
from azure.storage.queue import generate_queue_sas

KEY = base64.b64encode(bytes(64)).decode()
NAMED = AzureNamedKeyCredential("account", KEY)
FOR_ALL = tables.ResourceTypes(object=True)


def see(when):
    """The end of a token that each package makes for this moment."""
    node = subprocess.run(["node", "see.mjs", KEY, when.isoformat()], capture_output=True, text=True, check=True, timeout=60)
    tokens = {
        "table": tables.generate_table_sas(NAMED, "t", permission="r", expiry=when),
        "account": tables.generate_account_sas(NAMED, FOR_ALL, tables.AccountSasPermissions(read=True), when),
        "blob": generate_blob_sas("account", "c", "b", account_key=KEY, permission="r", expiry=when),
        "queue": generate_queue_sas("account", "q", KEY, permission="r", expiry=when),
        "table by Node": node.stdout.strip(),
    }
    ends = {name: parse_qs(token)["se"][0].removeprefix("2030-01-02T") for name, token in tokens.items()}
    print(when.isoformat(), ends)
    return ends


for hours in (-5, 0, 9):
    ends = see(datetime(2030, 1, 2, 12, tzinfo=timezone(timedelta(hours=hours))))
    assert ends.pop("table") == ends.pop("account") == "12:00:00Z"
    assert set(ends.values()) == {f"{12 - hours:02}:00:00Z"}
END
venv/bin/python see.py
