// A store for `type: exec` in JavaScript: the secrets are in memory, with the four methods and batches of reads.
//
//     provider: {type: exec, command: [node, exec_store.mjs]}
//
// It is the protocol of docs/how-to/backends/exec.md. Requests may be answered in any order, so a method may
// be asynchronous: several are under way at once.

import { createInterface } from "node:readline";

const secrets = new Map();

const failure = (type, message, more = {}) => Object.assign(new Error(message), { data: { type, ...more } });

const found = (key) => {
  if (!secrets.has(key)) throw failure("SecretNotFoundError", "there is no such secret", { reason: "absent" });
  return secrets.get(key);
};

const methods = {
  capabilities: async () => ["BatchReader"],
  get_secret: async ({ key }) => found(key),
  set_secret: async ({ key, value }) => (secrets.set(key, value), null),
  delete_secret: async ({ key }) => (found(key), secrets.delete(key), null),
  list_secrets: async ({ prefix }) => [...secrets.keys()].filter((key) => key.startsWith(prefix)),
  // Not an object literal: `__proto__` is a key like any other.
  get_secrets: async ({ keys }) =>
    Object.fromEntries(keys.filter((key) => secrets.has(key)).map((key) => [key, secrets.get(key)])),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  const tell = (told) => console.log(JSON.stringify({ jsonrpc: "2.0", id, ...told }));
  if (!Object.hasOwn(methods, method)) {
    tell({ error: { code: -32601, message: `no method ${method}` } });
    continue;
  }
  methods[method](params).then(
    (result) => tell({ result }),
    (error) => tell({ error: { code: -32000, message: error.message, data: error.data } }),
  );
}
