#!/usr/bin/env bash
# dotenvx 2.38.2: what `dotenvx set` encrypts is not what `dotenvx get` and `dotenvx run` give, where it holds a dollar sign.
# Seen: after `dotenvx set PW 'pa$$word'` both give pa$, and 'a${COLOUR}b' comes back with the variable filled in. set says that it has
# encrypted the value and ends with 0; quotes, #, a backslash and blanks at the edge come back as they were. Guess: encryption keeps the
# value from being read as a template.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work COLOUR=red
npm install --silent --no-fund --no-audit @dotenvx/dotenvx@2.38.2
PATH=$work/node_modules/.bin:$PATH
failed=0

see() { # the value, and what get and run give
    rm -f .env .env.keys
    dotenvx set PW "$1" >/dev/null 2>&1
    grep -q 'PW="\?encrypted:' .env
    got=$(dotenvx get PW 2>/dev/null)
    ran=$(dotenvx run --quiet -- sh -c 'printf %s "$PW"' 2>/dev/null)
    printf '%s: get gives %s, run gives %s\n' "$1" "$got" "$ran"
    [ "$got" = "$2" ] && [ "$ran" = "$2" ] || { echo "expected $2"; failed=1; }
}

# shellcheck disable=SC2016  # these are the values
see 'pa$$word' 'pa$'
# shellcheck disable=SC2016  # as above
see 'a${COLOUR}b' 'aredb'
see "it's #1 \\n" "it's #1 \\n"
exit $failed
