#!/usr/bin/env bash
# nconf 0.13.0: a password that is in secrets.json, or in the environment, ends in config.json as well.
# Seen: config.json has db:host, secrets.json has db:password, and db__token is in the environment. A program sets a colour and saves. The first
# save is right. After the second, config.json has the password, because save() merges what the files hold into the object of the first file. If
# secrets.json is named first, it gets the host so. If the program calls get() once to see all settings, then one save
# is enough: the last file in the list gets the password, and the token of the environment, which is in no file. And
# set(key, value) writes to the first file alone, but set(key, value, callback) to every file; clear(key) leaves the second copy, which get then
# returns. Guess: what is read from one file, or from the environment, is not written into another one.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit nconf@0.13.0
cat >see.cjs <<'END'
const assert = require("node:assert");
const fs = require("node:fs");
const { promisify } = require("node:util");
const nconf = require("nconf");

process.env.db__token = "in-the-environment";
const plain = { config: { db: { host: "h" } }, secrets: { db: { password: "hush" } } };
const read = () => ["config", "secrets"].map((name) => JSON.parse(fs.readFileSync(`${name}.json`)).db);

async function see(names, act) {
  for (const name of names) fs.writeFileSync(`${name}.json`, JSON.stringify(plain[name]));
  const settings = new nconf.Provider();
  settings.env("__");
  for (const name of names) settings.file(name, { file: `${name}.json` });
  await act(settings);
  console.log(`files ${names}, ${act.name}: ${JSON.stringify(read())}`);
  return read();
}

const once = (settings) => settings.set("colour", "dark") && settings.save();
const twice = (settings) => once(settings) && once(settings);
const looked = (settings) => settings.get() && once(settings);
const plainly = (settings) => settings.set("db:password", "new") && settings.save();
const called = async (settings) => {
  await promisify((done) => settings.set("db:password", "new", done))();
  settings.save();
};
const cleared = async (settings) => {
  await called(settings);
  settings.clear("db:password");
  assert.strictEqual(settings.get("db:password"), "new");
};
const [host, password, token] = [{ host: "h" }, { password: "hush" }, { token: "in-the-environment" }];
(async () => {
  const [ours, theirs] = [["config", "secrets"], ["secrets", "config"]];
  for (const names of [ours, theirs]) assert.deepEqual(await see(names, once), [host, password]);
  assert.deepEqual(await see(ours, twice), [{ ...host, ...password }, password]);
  assert.deepEqual(await see(theirs, twice), [host, { ...host, ...password }]);
  assert.deepEqual(await see(theirs, looked), [{ ...host, ...password, ...token }, password]);
  assert.deepEqual(await see(theirs, plainly), [host, { password: "new" }]);
  assert.deepEqual(await see(theirs, called), [{ ...host, password: "new" }, { password: "new" }]);
  await see(theirs, cleared);
})();
END
node see.cjs
