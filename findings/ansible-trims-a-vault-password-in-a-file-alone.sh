#!/usr/bin/env bash
# ansible-core 2.19.14: of a vault password in a file blanks at the ends are taken away, of one that a program prints they are not.
# Seen: what was encrypted with --vault-password-file and a file that holds "correct horse " is refused with an executable file that
# prints the same bytes (Decryption failed), and the other way round; the library ansible-vault 4.1.0 opens the first with "correct horse"
# alone. A newline at the end is taken away in both. A team that moves its vault password from a file to a program that asks a secret store
# can then open nothing that it has. Guess: the same bytes are the same password.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check ansible-core==2.19.14 ansible-vault==4.1.0
printf 'correct horse ' >file
printf '#!/bin/sh\nprintf "correct horse "\n' >program
printf '#!/bin/sh\necho "correct horse"\n' >trimmed
chmod +x program trimmed
failed=0

see() { # how it is encrypted, how it is decrypted, what comes of it
    rm -f secret.yml
    echo 'password: x' >secret.yml
    venv/bin/ansible-vault encrypt --vault-password-file "./$1" secret.yml >/dev/null 2>&1
    if got=$(venv/bin/ansible-vault view --vault-password-file "./$2" secret.yml 2>&1); then got=opens; fi
    printf '%s, then %s: %s\n' "$1" "$2" "$got"
    case $got in *"$3"*) ;; *) echo "expected $3"; failed=1 ;; esac
}

see file file opens
see program program opens
see file trimmed opens
see program file 'Decryption failed'
see file program 'Decryption failed'
cat >see.py <<'END'
from ansible_vault import Vault

with open("secret.yml") as file:
    text = file.read()
opened = []
for password in ("correct horse ", "correct horse"):
    try:
        opened.append((password, Vault(password).load(text)))
    except Exception as error:
        assert "Decryption failed" in str(error)
print("the library:", opened)
assert opened == [("correct horse", {"password": "x"})]
END
venv/bin/python see.py || failed=1
exit $failed
