"""A GitHub App: what its table becomes, how it signs, what it asks for, and what comes back."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode
from typing import TYPE_CHECKING

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from brokerctl.broker.request import grant_key
from brokerctl.config import plan as plans
from brokerctl.config.scope_levels import complete, is_within
from brokerctl.errors import BrokerError, IssuerError, OAuthError, UsageError
from brokerctl.model import LOCAL_ONLY, REVOKED, UNKNOWN, Reference
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.message import BrokenError
from brokerctl.oauth.revocation import REVOKERS
from brokerctl.policy import decide, find_broader
from brokerctl.secret import Secret
from tests.flows import NOW, answer, app_key, context, json_of, metadata, play, profile
from tests.unit.test_config_aws import compiled
from tests.unit.test_policy import request

if TYPE_CHECKING:
    from brokerctl.model import Profile
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse

HEAD = "[profile.p]\nflow = 'github_app'\n"
KEY = "client_key = { file = '/k.pem' }\n"
APP = "github_app = { app = 'Iv23li', installation = 12 }\n"
SCOPES = ("contents:write", "issues:read", "repo:a", "repo:b")
SIGN = Reference(kind="sign", target=("kms", "sign"))


def refused(text: str) -> str:
    """Return why a profile is refused."""
    with pytest.raises(UsageError) as caught:
        compiled(text)
    return caught.value.message


def test_it_becomes_a_profile_like_any_other() -> None:
    """The API is the issuer, the app the client, repositories and permissions are scopes."""
    table = "app = 5, installation = '12', repositories = ['b', 'a'], permissions = { x = 'read' }"
    plan = compiled(f"{HEAD}{KEY}github_app = {{ {table} }}\n")
    made = plan.profiles["p"]
    assert (made.issuer, made.client_id) == ("https://api.github.com", "5")
    assert made.scopes == ("repo:a", "repo:b", "x:read")
    assert dict(made.endpoints) == {
        "token_endpoint": "https://api.github.com/app/installations/12/access_tokens",
        "revocation_endpoint": "https://api.github.com/installation/token",
    }
    assert plans.parse_plan(plans.render_plan(plan)) == plan


def test_an_enterprise_server_has_its_own_api() -> None:
    """`issuer` is the API's address, with or without a slash at its end."""
    for end in ("", "/"):
        text = f"{HEAD}{KEY}{APP}issuer = 'https://ghe.example/api/v3{end}'\n"
        made = compiled(text).profiles["p"]
        assert made.issuer == "https://ghe.example/api/v3"
        assert made.endpoints[1][1].startswith("https://ghe.example/api/v3/app/installations/")


def test_each_installation_has_tokens_of_its_own() -> None:
    """App, installation, repositories and permissions: whatever differs, the key differs."""
    tables = [
        "app = 'a', installation = 1",
        "app = 'b', installation = 1",
        "app = 'a', installation = 2",
        "app = 'a', installation = 1, repositories = ['x']",
        "app = 'a', installation = 1, permissions = { x = 'read' }",
        "app = 'a', installation = 1, permissions = { x = 'write' }",
    ]
    found = [compiled(f"{HEAD}{KEY}github_app = {{ {one} }}\n").profiles["p"] for one in tables]
    assert len({grant_key(one) for one in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY, "github_app is missing"),
        (APP, "needs client_key, the app's private key"),
        (f"{KEY}github_app = 'x'\n", "must be a table"),
        (f"{KEY}github_app = {{ installation = 1 }}\n", "app is missing"),
        (f"{KEY}github_app = {{ app = 'x' }}\n", "installation is missing"),
        (f"{KEY}github_app = {{ app = 'x/y', installation = 1 }}\n", "app is not a client id"),
        (f"{KEY}github_app = {{ app = true, installation = 1 }}\n", "app is not a client id"),
        (f"{KEY}github_app = {{ app = 'x', installation = '1/../2' }}\n", "is not a number"),
        (f"{KEY}github_app = {{ app = 'x', installation = 0 }}\n", "installation is not a number"),
        (f"{KEY}{APP[:-3]}, repositories = [] }}\n", "must be 1 to 500 names"),
        (f"{KEY}{APP[:-3]}, repositories = ['o/r'] }}\n", "'o/r' is not the name of a repository"),
        (f"{KEY}{APP[:-3]}, repositories = [1] }}\n", "'1' is not the name of a repository"),
        (f"{KEY}{APP[:-3]}, permissions = {{}} }}\n", "permissions must be a table"),
        (f"{KEY}{APP[:-3]}, permissions = {{ a = 'all' }} }}\n", "a must be one of read, write"),
        (f"{KEY}{APP[:-3]}, permissions = {{ repo = 'read' }} }}\n", "not the name of a permi"),
        (f"{KEY}{APP[:-3]}, owner = 'x' }}\n", "has no key 'owner'"),
        (f"{KEY}{APP}scopes = ['x']\n", "scopes does not go with the flow github_app"),
        (f"{KEY}{APP}client_id = 'x'\n", "client_id does not go with the flow github_app"),
        (f"{KEY}{APP}identity = 'auto'\n", "identity does not go with the flow github_app"),
        (f"{APP}client_key = {{ sign = [] }}\n", "must be a command"),
        (f"{APP}client_key = {{ sign = ['./x'] }}\n", "must be an absolute path"),
    ],
)
def test_a_profile_that_can_not_be_meant(text: str, said: str) -> None:
    """It is refused where it stands, before anything is sent."""
    message = refused(HEAD + text)
    assert said in message
    assert message.startswith("/u.toml:")


def test_its_words_go_with_no_other_flow() -> None:
    """Neither the table nor a key that is a command which signs."""
    other = "[profile.p]\nissuer = 'https://a.example'\nflow = 'client_credentials'\n"
    other += "client_id = 'x'\n"
    assert "goes with the flow github_app alone" in refused(other + KEY + APP)
    said = refused(f"{other}client_key = {{ sign = ['kms'] }}\n")
    assert "client_key can't be a command that signs with the flow client_credentials" in said


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (None, SCOPES),
        (("contents:write",), ("contents:write", "repo:a", "repo:b")),
        (("contents:read",), ("contents:read", "repo:a", "repo:b")),
        (("repo:a",), ("contents:write", "issues:read", "repo:a")),
        (("issues:read", "repo:b"), ("issues:read", "repo:b")),
        (("issues:write",), None),
        (("contents:admin",), None),
        (("metadata:read",), None),
        (("repo:c",), None),
        (("repo:*",), None),
        (("repo:",), None),
        (("read",), None),
        ((), None),
    ],
)
def test_a_request_can_only_narrow(asked: tuple[str, ...] | None, left: object) -> None:
    """By repository, by permission or by level; what it does not name stays as the profile's."""
    of = profile(flow="github_app", scopes=SCOPES)
    decision = decide(of, request(scopes=asked))
    assert (decision.scopes if decision.effect != "deny" else None) == left


def test_a_project_s_narrowing_keeps_what_it_does_not_name() -> None:
    """A project's file that names a permission does not open all repositories."""
    of = profile(flow="github_app", scopes=SCOPES)
    assert decide(of, request(), ("issues:read",)).scopes == ("issues:read", "repo:a", "repo:b")
    assert decide(of, request(scopes=("contents:read",)), ("issues:read",)).effect == "deny"


def test_what_is_not_limited_can_be_narrowed_to_anything() -> None:
    """A profile without repositories is for all of them: one of them is less."""
    assert is_within("repo:x", ("contents:read",))
    assert not is_within("issues:read", ("contents:read",))
    assert is_within("issues:read", ("repo:x",))
    assert not is_within("nonsense", ("repo:x",))
    assert complete(("repo:x",), ("contents:read",)) == ("contents:read", "repo:x")


@pytest.mark.parametrize(
    ("asked", "granted", "broader"),
    [
        ("contents:read repo:a", "contents:read metadata:read repo:a", ""),
        ("contents:write", "contents:read", ""),
        ("repo:a", "contents:write issues:write metadata:read repo:a", ""),
        ("contents:read", "contents:write", "contents:write"),
        ("contents:read repo:a", "contents:read repo:a repo:b", "repo:b"),
        ("repo:a", "repo:*", "repo:*"),
        ("contents:read", "?", "?"),
    ],
)
def test_more_than_was_asked_for_is_seen(asked: str, granted: str, broader: str) -> None:
    """What GitHub adds by itself is none; a higher level or another repository is."""
    found = find_broader(tuple(asked.split()), tuple(granted.split()), has_levels=True)
    assert " ".join(found) == broader


def ctx_of(**fields: object) -> FlowContext:
    """Return a context of the flow, with a key."""
    chosen = {"flow": "github_app", "client_id": "Iv23li", "scopes": ("repo:a",)} | fields
    return context(profile(**chosen), key_pem=app_key())


def given(**changes: object) -> HttpResponse:
    """Return what GitHub answers."""
    body = {"token": "ghs_1", "expires_at": "1970-01-12T14:46:40Z"}
    return answer(body | changes, 201)


def bearer_of(step: object) -> str:
    """Return the JWT that a request went with."""
    headers = dict(step.headers)  # type: ignore[attr-defined]  # a request's
    found: Secret = headers["authorization"]
    return found.reveal().removeprefix("Bearer ")


def test_the_app_signs_who_it_is() -> None:
    """RS256, a minute back, at most ten minutes long, the app as the issuer; anew for each try."""
    first = BrokenError("the connection broke")
    (one, two) = play(find_flow("github_app").obtain(ctx_of()), first, given()).requests
    for sent in (one, two):
        token = jwt.decode(bearer_of(sent), RSAKey.import_key(app_key()), algorithms=["RS256"])
        assert token.header["alg"] == "RS256"
        assert token.claims == {"iss": "Iv23li", "iat": NOW - 60, "exp": NOW + 540}


@pytest.mark.parametrize("form", ["raw", "base64", "base64url", "lines"])
def test_a_command_can_sign(form: str) -> None:
    """It reads what is to be signed and prints the signature; the key is never here."""
    key = RSAKey.import_key(app_key())
    seen: list[bytes] = []

    def sign(text: bytes) -> bytes:
        seen.append(text)
        whole = jwt.encode({"alg": "RS256"}, {}, key)  # any signature of the right length
        raw = urlsafe_b64decode(whole.rpartition(".")[2] + "==")
        plain = b64encode(raw)
        lines = b"\n".join(plain[at : at + 64] for at in range(0, len(plain), 64)) + b"\n"
        url = plain.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=")
        return {"raw": raw, "base64": plain, "base64url": url, "lines": lines}[form]

    ctx = ctx_of(client_key=SIGN)
    played = play(find_flow("github_app").obtain(ctx), given(), sign=sign)
    text, _, signature = bearer_of(played.requests[0]).rpartition(".")
    assert [one.decode() for one in seen] == [text]
    assert len(urlsafe_b64decode(signature + "==")) == 256
    claims = json.loads(urlsafe_b64decode(text.partition(".")[2] + "=="))
    assert claims == {"iss": "Iv23li", "iat": NOW - 60, "exp": NOW + 540}


@pytest.mark.parametrize("output", [b"", b"not a signature\n", b"error: no key\n", b"AAAA"])
def test_what_is_no_signature_is_not_sent(output: bytes) -> None:
    """The message says what the command should do."""
    with pytest.raises(UsageError, match="kms, asked for a signature, printed none"):
        play(find_flow("github_app").obtain(ctx_of(client_key=SIGN)), sign=lambda _: output)


def test_github_takes_an_rsa_key_alone() -> None:
    """Another key is refused before anything is signed."""
    pem = ECKey.generate_key("P-256").as_pem(private=True).decode()
    ctx = context(profile(flow="github_app"), key_pem=pem)
    with pytest.raises(UsageError, match="no RSA key"):
        play(find_flow("github_app").obtain(ctx))


def test_the_highest_level_of_a_permission_is_asked_for() -> None:
    """Two levels of one permission are the higher; names of repositories stay as written."""
    ctx = ctx_of(scopes=("contents:read", "contents:write", "repo:A.b"))
    (sent,) = play(find_flow("github_app").obtain(ctx), given()).requests
    assert json_of(sent) == {"repositories": ["A.b"], "permissions": {"contents": "write"}}


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"repository_selection": "all"}, "repo:*"),
        ({}, "repo:*"),
        ({"repository_selection": "selected"}, "repo:a"),
        ({"repository_selection": [], "repositories": []}, "repo:*"),
        ({"repository_selection": "selected", "repositories": [{"name": "b"}]}, "repo:b"),
        ({"repository_selection": "selected", "repositories": [{"name": "x y"}, 1]}, "repo:?"),
        ({"repository_selection": "selected", "permissions": {"a b": "read"}}, "? repo:a"),
        ({"repository_selection": "selected", "permissions": {"a": ["read"]}}, "? repo:a"),
        ({"repository_selection": "selected", "permissions": []}, "repo:a"),
    ],
)
def test_what_was_granted_is_what_github_says(said: dict[str, object], scopes: str) -> None:
    """Where it says that all repositories are open, or what nobody asked for, it is seen."""
    got = play(find_flow("github_app").obtain(ctx_of()), given(**said)).value
    assert " ".join(got.scopes) == scopes


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": None},
        {"token": ""},
        {"token": "a b"},
        {"permissions": {}, "repositories": [{"name": "ghs_0123456789abcdef"}]},
    ],
)
def test_an_answer_that_can_not_be_used(wrong: dict[str, object]) -> None:
    """No token, one that no header takes, or one that is shown as a name."""
    whole = {"token": "ghs_0123456789abcdef", "repository_selection": "selected"}
    with pytest.raises(IssuerError):
        play(find_flow("github_app").obtain(ctx_of()), given(**whole | wrong))


def test_an_end_that_is_missing_is_not_known() -> None:
    """A short one is assumed then, as for every issuer."""
    got = play(find_flow("github_app").obtain(ctx_of()), given(expires_at="soon")).value
    assert got.expires_in is None


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "belong together"), (403, "suspended"), (404, "'installation'"), (422, "must have")],
)
def test_github_s_no_has_its_own_hint(status: int, hint: str) -> None:
    """And the JWT that it may repeat is not shown."""
    steps = find_flow("github_app").obtain(ctx_of())
    with pytest.raises(OAuthError) as caught:
        play(steps, answer({"message": "no\n"}, status))
    assert (caught.value.error, caught.value.status) == (str(status), status)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"message":1}'])
def test_a_no_of_somebody_else_is_no_refusal(body: bytes) -> None:
    """A proxy's page says nothing about the app."""
    with pytest.raises(BrokerError, match="answered 403") as caught:
        play(find_flow("github_app").obtain(ctx_of()), answer(body, 403))
    assert not isinstance(caught.value, OAuthError)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (204, b"", REVOKED),
        (401, b'{"message":"Bad credentials"}', REVOKED),
        (401, b"<html>", UNKNOWN),
        (403, b'{"message":"rate limit"}', UNKNOWN),
        (404, b"{}", UNKNOWN),
        (302, b"", UNKNOWN),
        (502, b"", UNKNOWN),
    ],
)
def test_the_token_itself_asks_for_its_end(status: int, body: bytes, outcome: str) -> None:
    """DELETE with the token as bearer, and nothing of the client."""
    steps = REVOKERS["holder"](ctx_of(), Secret("ghs_1"), "access_token")
    played = play(steps, answer(body, status))
    assert played.value.outcome == outcome
    (sent,) = played.requests
    assert (sent.method, bearer_of(sent), sent.body) == ("DELETE", "ghs_1", None)
    assert "ghs_1" not in repr(played.steps)


def test_without_an_endpoint_a_token_lives_on() -> None:
    """And that is said."""
    ctx = ctx_of().replace(metadata=metadata(revocation_endpoint=None))
    played = play(REVOKERS["holder"](ctx, Secret("ghs_1"), "access_token"))
    assert played.value.outcome == LOCAL_ONLY


def shown(made: Profile) -> object:
    """Return a profile's key, for the test below."""
    return made.client_key


def test_a_signing_command_is_a_reference() -> None:
    """It goes through the compiled plan."""
    plan = compiled(f"{HEAD}{APP}client_key = {{ sign = ['kms', 'sign'] }}\n")
    again = plans.parse_plan(plans.render_plan(plan))
    assert again == plan
    assert shown(plan.profiles["p"]) == SIGN
