#!/bin/sh
# The main steps from `init` to `run` in a temporary folder: each command is printed before its output.
set -eu

examples=$(cd "$(dirname "$0")/../examples" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT # else the next command would go on, in a folder that is gone
trap 'exit 143' TERM
cd "$folder"
mkdir home
HOME=$folder/home
export HOME
unset STRONGROOM_SPEC STRONGROOM_PROFILE STRONGROOM_ENCRYPTION_KEY 2>/dev/null || true
cp "$examples/greeter/app.py" app.py
cp "$examples/greeter/.env.sample" .env

say() {
    printf '\n# %s\n' "$1"
}

try() {
    printf '$ %s\n' "$1"
    sh -c "$1" 2>&1 || printf '(exit %s)\n' "$?"
}

say 'Secrets in clear become an encrypted store, its key, and a spec that holds no secret.'
try 'strongroom init --from .env && rm .env'
try 'strongroom list'
printf '$ strongroom get DATABASE_HOST\n'
printf '%s\n' "$(strongroom get DATABASE_HOST)"

say 'Where a secret comes from; no value, and nobody is asked.'
try 'strongroom explain DATABASE_PASSWORD'

say 'The application gets its secrets, and what it prints of them is masked.'
try 'strongroom run -- python app.py'

say 'The same spec under a profile that stores nothing: it tells what is missing, and starts nothing.'
try 'strongroom --profile test run -- python app.py'

say 'A wrong spec: every mistake at once, each with its place.'
cat > wrong.yaml <<'SPEC'
version: 1
pipelines:
  app:
    provider: {type: fil, file_path: secrets.enc}
    middleware:
      - {type: retry, atempts: 3}
secrets:
  DATABASE_PASSWORD: {key: /database/password, min_length: twelve}
SPEC
try 'cat wrong.yaml'
try 'strongroom --spec wrong.yaml check'
