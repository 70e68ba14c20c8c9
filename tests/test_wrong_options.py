"""What a constructor refuses by the spec alone is found with the spec: `check --offline` says it with its place."""

from __future__ import annotations

import pytest
from strongroom.errors import SpecError
from strongroom.spec.loader import load_plan

PROVIDERS = {
    "{type: env, prefix: 'A='}": "4:35: pipelines.a.provider.prefix: it cannot begin a variable's name",
    "{type: file, file_path: f, key_file: k, encryption_key: 'a passphrase'}": "both encryption_key and key_file",
    "{type: keepass, path: f.kdbx}": "neither password nor key_file is given",
    "{type: aws, force_delete: true, recovery_window_days: 7}": "or recovery_window_days",
    "{type: vault, url: 'https://v', auth: {method: userpas}}": (
        "4:15: pipelines.a.provider: auth has no known `method`; known: token_file, approle, userpass, kubernetes"
    ),
    "{type: vault, url: 'https://v', auth: {method: userpass, username: u, pasword: p}}": (
        "auth method userpass: missing or unknown: pasword, password"
    ),
    "{type: vault.leases, url: 'https://v', auth: {method: jwt, role: r}}": "missing or unknown: jwt or jwt_path",
    "{type: etcd, endpoints: 'etcd.example:2379'}": "endpoints: expected http:// or https://",
    "{type: etcd, endpoints: []}": "endpoints: expected http:// or https://",
    "{type: etcd, endpoints: ['https://a:2379', 'https://u:p@b:2379']}": "endpoints: expected http:// or https://",
    # Not even a value that is a part of a rule takes a part of it away.
    "{type: vault, url: http}": "4:34: pipelines.a.provider.url: expected an address that begins with http:// or https://",
}
MIDDLEWARE = {
    "{type: encryption, algorithm: aes}": (
        "6:39: pipelines.a.middleware[0].algorithm: expected 'aes-gcm', 'chacha20' or 'fernet'; did you mean 'aes-gcm'?"
    ),
    "{type: prefix, prefix: /a/}": "6:32: pipelines.a.middleware[0].prefix: it has an empty, '.' or '..' segment",
    "{type: prefix, prefix: a/../}": "it has an empty, '.' or '..' segment",
    "{type: tenant, template: '{key}'}": (
        "6:34: pipelines.a.middleware[0].template: expected segments of which one is {tenant} and the last {key}"
    ),
    "{type: tenant, template: '{tenant}-x/{key}'}": "expected segments of which one is {tenant}",
    "{type: tenant, template: 'a//{tenant}/{key}'}": "expected segments of which one is {tenant}",
    "{type: tenant, template: '{tenant}/{other}/{key}'}": "expected segments of which one is {tenant}",
    "{type: validation, min_length: 5, max_length: 2}": "min_length is above max_length",
    "{type: retry, attempts: 101, max_seconds: 100}": "attempts: expected at most 100",
}
REFERENCES = [
    ("{type: env, prefix: '${env:P}'}", ""),
    ("{type: vault, url: 'https://v', auth: {method: '${env:M}', role: r}}", ""),
    (
        "{type: vault, url: 'https://v', auth: {method: userpass, username: '${env:U}', password: '${env:P}'}}",
        "",
    ),
    ("{type: etcd, endpoints: '${env:E}'}", ""),
    ("{type: etcd, endpoints: ['${env:E}', 'https://a:2379']}", ""),
    ("{type: memory}", "{type: tenant, template: '${env:T}/{tenant}/{key}'}"),
    ("{type: memory}", "{type: tenant, template: '${env:T}'}"),
    ("{type: memory}", "{type: prefix, prefix: '${env:P}'}"),
]


def load(folder, provider, middleware=""):
    path = folder / "s.yaml"
    below = f"    middleware:\n      - {middleware}\n" if middleware else ""
    path.write_text(f"version: 1\npipelines:\n  a:\n    provider: {provider}\n{below}")
    return load_plan(path, look_up=False)


def problem(folder, *options):
    with pytest.raises(SpecError) as caught:
        load(folder, *options)
    (only,) = caught.value.problems
    return only


@pytest.mark.parametrize("options", PROVIDERS)
def test_of_a_provider(tmp_path, options):
    assert PROVIDERS[options] in problem(tmp_path, options)


@pytest.mark.parametrize("options", MIDDLEWARE)
def test_of_middleware(tmp_path, options):
    assert MIDDLEWARE[options] in problem(tmp_path, "{type: memory}", options)


@pytest.mark.parametrize("prefix", ["/a/", "a//", "../", "a/./b/"])
def test_of_a_route(tmp_path, prefix):
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\npipelines:\n  a: {provider: {type: memory}}\n"
        f"routes:\n  - {{prefix: {prefix}, pipeline: a}}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    (only,) = caught.value.problems
    assert only.endswith("5:14: routes[0].prefix: no key begins so: an empty, '.' or '..' segment")


@pytest.mark.parametrize(("provider", "middleware"), REFERENCES)
def test_what_a_reference_brings_in_is_not_known_yet(tmp_path, provider, middleware):
    load(tmp_path, provider, middleware)
