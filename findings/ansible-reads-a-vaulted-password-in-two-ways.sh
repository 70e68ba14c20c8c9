#!/usr/bin/env bash
# ansible-core 2.19.14: one password, encrypted by ansible-vault in its two ways, is two passwords for a play.
# Seen: encrypted by encrypt_string, {{ 1 + 1 }} and pa{#ss are given as they are. The same values in a file that is encrypted whole
# are templates: the first is 2, the second an error, as in a file that is not encrypted. From standard input, encrypt_string keeps the
# last newline. Guess: what is encrypted comes back as it was, whichever way it was encrypted.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work ANSIBLE_VAULT_PASSWORD_FILE=$work/password ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_NOCOLOR=1
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check ansible-core==2.19.14
PATH=$work/venv/bin:$PATH
echo 'of the vault' >password
failed=0

shown() { # what a task sees of the variable in that file
    ansible localhost -m debug -a 'msg={{ secret | to_json }}' -e "@$1" 2>/dev/null |
        sed -n 's/^ *"msg": "Task failed: .*Syntax error in template.*/an error/; s/^ *"msg": //p; /^an error/p' || true
}
see() { # the way, what the task saw, and what it should
    printf '%s: %s\n' "$1" "$2"
    [ "$2" = "$3" ] || { echo "expected $3"; failed=1; }
}

for value in '{{ 1 + 1 }}' 'pa{#ss'; do
    ansible-vault encrypt_string "$value" --name secret >inline.yml 2>/dev/null
    see "$value by itself" "$(shown inline.yml)" "\"\\\"$value\\\"\""
    printf "secret: '%s'\n" "$value" | tee whole.yml >plain.yml
    ansible-vault encrypt whole.yml 2>/dev/null
    grep -q '^\$ANSIBLE_VAULT' whole.yml
    [ "$value" = 'pa{#ss' ] && expected='an error' || expected='"2"'
    see "$value in a file that is encrypted" "$(shown whole.yml)" "$expected"
done
printf 'from stdin\n' | ansible-vault encrypt_string --stdin-name secret >stdin.yml 2>/dev/null
see 'pa{#ss in a file as it is' "$(shown plain.yml)" 'an error'
see 'from standard input' "$(shown stdin.yml)" '"\"from stdin\\n\""'
exit $failed
