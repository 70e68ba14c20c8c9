#!/usr/bin/env bash
# ansible-core 2.19.14: a variable that the password lookup fills from /dev/null has another password at each use.
# Seen: of `db_password: "{{ lookup('ansible.builtin.password', '/dev/null', length=20) }}"` in `vars` one task writes one password for the
# server and the next another for its client; twice in one template it is the same one. The play ends with 0, and nothing warns. After set_fact,
# both tasks have one password. Guess: a variable has one value in a play.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check ansible-core==2.19.14
cat >play.yml <<'END'
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    db_password: "{{ lookup('ansible.builtin.password', '/dev/null', length=20) }}"
  tasks:
    - ansible.builtin.copy: { content: "{{ db_password }}", dest: "{{ playbook_dir }}/server" }
    - ansible.builtin.copy: { content: "{{ db_password }}", dest: "{{ playbook_dir }}/client" }
    - ansible.builtin.copy: { content: "{{ db_password }}\n{{ db_password }}", dest: "{{ playbook_dir }}/twice" }
    - ansible.builtin.set_fact: { kept: "{{ db_password }}" }
    - ansible.builtin.copy: { content: "{{ kept }}", dest: "{{ playbook_dir }}/server-kept" }
    - ansible.builtin.copy: { content: "{{ kept }}", dest: "{{ playbook_dir }}/client-kept" }
END
said=$(HOME=$PWD ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false venv/bin/ansible-playbook -i localhost, play.yml 2>&1)
grep -q 'failed=0' <<<"$said"
if grep -i warning <<<"$said"; then exit 1; fi
for one in server client server-kept client-kept; do echo "$one: $(cat "$one")"; done
test "$(wc -c <server)" = 20
test "$(cat server)" != "$(cat client)"
test "$(sed -n 1p twice)" = "$(sed -n 2p twice)"
test "$(cat server-kept)" = "$(cat client-kept)"
