"""What each protocol is asked for that is wrong, nobody's, refused or not to be had."""

# ruff: noqa: PERF401 - a list of cases is read one by one
from __future__ import annotations

import json

from tests.scripts.golden_room import Case
from tests.scripts.helper_answers import asking


def tools() -> list[Case]:
    """Return what each protocol is asked for that is wrong, nobody's, refused or not to be had."""
    cases = []
    for host, why in (
        ("nobody.example", "no profile has the host"),
        ("tie.example", "two have it"),
        ("me.example.com", "a person must log in"),
        ("git.example.com", "the issuer is away"),
    ):
        for words, stdin, env in asking(host).values():
            cases.append(_asked(words, stdin, {**env, "CI_SECRET": "x"}, why))
    for words, stdin, env in asking("me.example.com").values():
        case = _asked(words, stdin, env, "the configuration is wrong")
        cases.append(case._replace(config="[profile.p\n"))
    return [*cases, *_words(), *_texts(), *_variables()]


def _words() -> list[Case]:
    cases = []
    for asked in (
        *("git", "git nope", "docker", "docker nope", "askpass", "askpass nonsense"),
        *("askpass a b", "bazel", "bazel get", "bazel nope", "cargo", "terraform", "terraform get"),
        *("terraform nope x", "keyring", "keyring nope x y", "keyring get x", "goauth a b c"),
        *("goauth nonsense", "vault", "vault nope", "pnpm", "pnpm x", "aws", "aws x y", "gcp"),
        *("aws --profile nope", "aws --profile me", "aws --profile role", "gcp --profile me"),
        *("kubernetes", "kubernetes x", "kubernetes --profile nope", "kubernetes --profile me"),
        *("pnpm --profile nope", "pnpm --profile me", "goauth --profile nope", "nope get"),
        "askpass \"Password for 'https://a%zz@x.example': \"",
    ):
        cases.append(Case(f"helper {asked}", env={"CI_SECRET": "x"}))
    return cases


def _texts() -> list[Case]:
    cases = []
    for asked, text in (
        ("git get", "protocol\n\n"),
        ("git get", "protocol=https\nprotocol=https\n\n"),
        ("git get", f"protocol={'x' * 70000}\n\n"),
        ("git get", "protocol=https\nhost=a b\n\n"),
        ("git --timeout x store", "protocol=https\nhost=x.example\nusername=a\npassword=b\n\n"),
        ("git --profile nope get", "protocol=https\nhost=me.example.com\n\n"),
        ("docker get", "a\nb\n"),
        ("docker get", "\udcff"),
        ("docker store", "nonsense"),
        ("docker store", "{}"),
        ("docker list", ""),
        ("bazel get", "nonsense"),
        ("bazel get", "{}"),
        ("bazel get", '{"uri":"nonsense"}'),
        ("cargo", "nonsense\n"),
        ("cargo", "[]\n"),
        ("cargo", '{"v":1,"kind":"get","registry":{}}\n'),
        ("cargo", '{"v":9,"kind":"get","operation":"read","registry":{"index-url":"x"}}\n'),
        (
            "cargo",
            '{"v":1,"kind":"nope","registry":{"index-url":"sparse+https://me.example.com/"}}\n',
        ),
        (
            "cargo",
            '{"v":1,"kind":"login","token":5,"registry":{"index-url":"https://x.example/"}}\n',
        ),
        ("keyring set https://me.example.com a", "b"),
        ("keyring del https://me.example.com a", ""),
    ):
        cases.append(Case(f"helper {asked}", stdin=text))
    return cases


def _variables() -> list[Case]:
    cases = []
    cases += [Case("helper kubernetes", env={"KUBERNETES_EXEC_INFO": text}) for text in _clusters()]
    google = "GOOGLE_EXTERNAL_ACCOUNT_"
    allowed: dict[str, str | None] = {f"{google}ALLOW_EXECUTABLES": "1"}
    jwt = {**allowed, f"{google}TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt"}
    for more in (
        allowed,
        jwt,
        {**jwt, f"{google}AUDIENCE": "a\nb"},
        {**jwt, f"{google}AUDIENCE": "//iam.googleapis.com/elsewhere"},
    ):
        for name in ("other", "me"):
            cases.append(Case(f"helper gcp --profile {name}", env=more))
    cases.append(
        Case("helper vault get", env={"VAULT_ADDR": "https://a", "VAULT_AGENT_ADDR": "https://b"})
    )
    return cases


def _clusters() -> list[str]:
    kind = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1"}
    return [
        "nonsense",
        "{}",
        json.dumps({**kind, "apiVersion": "v9"}),
        json.dumps({**kind, "spec": 5}),
        json.dumps({**kind, "spec": {"cluster": 5}}),
        json.dumps({**kind, "spec": {"cluster": {"server": 5}}}),
        json.dumps({**kind, "spec": {"cluster": {"server": "https://other.example"}}}),
        json.dumps({**kind, "spec": {"cluster": {"server": "https://tie.example"}}}),
        json.dumps({**kind, "spec": {"cluster": {"server": "https://me.example.com"}}}),
        json.dumps({**kind, "spec": {"cluster": {"server": "https://git.example.com"}}}),
        json.dumps({**kind, "spec": {"interactive": "x", "cluster": {"server": "https://x"}}}),
    ]


def _asked(words: list[str], stdin: str, env: dict[str, str], why: str) -> Case:
    quoted = " ".join(f'"{word}"' if "'" in word or " " in word else word for word in words)
    return Case(f"helper {quoted}", stdin=stdin, env=env, why=why)
