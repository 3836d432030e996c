"""The test issuer's two grants do what the tests rely on: by raw HTTP, brokerctl has no part.

Token exchange is RFC 8693, JWT bearer RFC 7523, and the grant that one issuer makes out for another
draft-ietf-oauth-identity-assertion-authz-grant (text of April 2026 read; -05 was not to be had).
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.emulations.authority import FORGERIES, Authority, unverified_claims
from tests.idp.issuer import JWT_BEARER, TOKEN_EXCHANGE, TYPE, Answer, OidcProvider

OPAQUE = "https://api.example.com"
SIGNED = "https://jwt.example.com"
PLATFORM = Authority("https://ci.example")
OTHER = Authority("https://robots.example", key=1)
BELIEVED = {"old"}  # whose age is for the client to mind, unless the issuer is told otherwise


def subject(issuer: OidcProvider, **claims: Any) -> str:  # noqa: ANN401 - claims are JSON
    """Return the platform's token for a job, made out to the issuer."""
    return PLATFORM.sign({"sub": "job-1", "aud": issuer.url, **claims})


def trusting(issuer: OidcProvider, **rules: object) -> OidcProvider:
    """Have the issuer believe the platform."""
    issuer.trust(PLATFORM.issuer, PLATFORM.jwks, **rules)
    return issuer


def id_jag(issuer: OidcProvider, target: OidcProvider, client: str = "post", **form: str) -> str:
    """Return an identity assertion grant of one issuer's for another."""
    asked = {"requested_token_type": TYPE + "id-jag", "audience": target.url, **form}
    answer = issuer.exchange(client, subject(issuer), **asked)
    assert answer.status == 200, answer
    token: str = answer.json["access_token"]
    return token


def bear(issuer: OidcProvider, assertion: str, client: str = "post", **form: str) -> Answer:
    """Show an assertion."""
    return issuer.token(client, grant_type=JWT_BEARER, assertion=assertion, **form)


def test_a_job_s_token_is_exchanged(exchange_issuer: OidcProvider) -> None:
    """An opaque token comes back that resource, introspection and revocation know."""
    issuer = trusting(exchange_issuer)
    answer = issuer.exchange("cli", subject(issuer), resource=OPAQUE, scope="read write")
    assert answer.json["issued_token_type"] == TYPE + "access_token"
    assert answer.json["token_type"] == "Bearer"
    assert "refresh_token" not in answer.json
    token = answer.json["access_token"]
    said = {"sub": "job-1", "client_id": "cli", "scope": "read write", "aud": OPAQUE}
    assert issuer.use(token).json == said
    assert issuer.post("/token/revocation", "cli", token=token).status == 200
    assert not issuer.is_active(token)
    assert issuer.counts()["issued"] == {TOKEN_EXCHANGE: 1}


@pytest.mark.parametrize("forgery", sorted(FORGERIES.keys() - BELIEVED))
def test_a_forged_subject_is_refused(http_exchange: OidcProvider, forgery: str) -> None:
    """RFC 8693, 2.2.2: whatever is wrong with the subject is an invalid request."""
    issuer = trusting(http_exchange)
    token = PLATFORM.forge(forgery, {"sub": "job-1", "aud": issuer.url})
    answer = issuer.exchange("cli", token)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert [one["is_given"] for one in issuer.exchanges()] == [False]


def test_a_subject_of_an_issuer_that_is_not_trusted(http_exchange: OidcProvider) -> None:
    """Nobody is believed before the test says so, nor after it has taken that back."""
    assert http_exchange.exchange("cli", subject(http_exchange)).status == 400
    trusting(http_exchange)
    assert http_exchange.exchange("cli", subject(http_exchange)).status == 200
    http_exchange.trust_nobody()
    assert http_exchange.exchange("cli", subject(http_exchange)).status == 400


def test_what_is_no_subject(http_exchange: OidcProvider) -> None:
    """A grant for a JWT bearer request, and a token from the future that says no `nbf`."""
    issuer = trusting(http_exchange)
    claims = {"sub": "job-1", "aud": issuer.url}
    grant = PLATFORM.sign({**claims, "client_id": "cli"}, typ="oauth-id-jag+jwt")
    later = PLATFORM.sign({**claims, "iat": 2**31, "nbf": None})
    assert [issuer.exchange("cli", token).status for token in (grant, later)] == [400, 400]


def test_audience_age_types_and_scopes_as_told(http_exchange: OidcProvider) -> None:
    """What is asked of a trusted issuer's tokens is the test's to say."""
    issuer = http_exchange
    rules = {"audience": ["urn:x"], "types": ["id_token"], "scopes": ["read"], "max_age_s": 60}
    trusting(issuer, **rules)
    good = PLATFORM.sign({"sub": "s", "aud": "urn:x"})
    assert issuer.exchange("cli", good, "id_token").json["scope"] == "read"
    assert issuer.exchange("cli", good, "id_token", scope="write").json["error"] == "invalid_scope"
    assert issuer.exchange("cli", good, "jwt").status == 400
    assert issuer.exchange("cli", subject(issuer), "id_token").status == 400
    old = PLATFORM.forge("old", {"sub": "s", "aud": "urn:x"})
    assert issuer.exchange("cli", old, "id_token").status == 400


def test_a_jti_works_once_where_told(http_exchange: OidcProvider) -> None:
    """Replay is refused as a dead grant, and only where the test wants it."""
    issuer = trusting(http_exchange, once=True)
    token = subject(issuer)
    assert issuer.exchange("cli", token).status == 200
    assert issuer.exchange("cli", token).json["error"] == "invalid_grant"
    assert issuer.exchange("cli", subject(issuer, jti=None)).json["error"] == "invalid_grant"


@pytest.mark.parametrize("way", ["file", "url"])
def test_the_keys_come_from_a_file_or_an_address(
    two_issuers: tuple[OidcProvider, OidcProvider], issuer_folder: str, way: str
) -> None:
    """The JWKS may be a file, and another issuer's address over http or TLS."""
    first, second = two_issuers
    if way == "file":
        first.trust(PLATFORM.issuer, PLATFORM.write_jwks(issuer_folder))
        assert first.exchange("cli", subject(first)).status == 200
        os.unlink(os.path.join(issuer_folder, "jwks.json"))
        assert first.exchange("cli", subject(first)).status == 400
    else:
        trusting(first)
        second.trust(first)
        assert bear(second, id_jag(first, second)).status == 200


def test_an_actor_acts(http_exchange: OidcProvider) -> None:
    """The act claim names the actor, an older one below it, and may_act is obeyed."""
    issuer = trusting(http_exchange)
    issuer.trust(OTHER.issuer, OTHER.jwks)
    actor = OTHER.sign({"sub": "robot", "aud": issuer.url})
    form = {"actor_token": actor, "actor_token_type": TYPE + "jwt"}
    token = issuer.exchange("cli", subject(issuer, act={"sub": "before"}), **form).json
    act = {"sub": "robot", "iss": OTHER.issuer, "act": {"sub": "before"}}
    assert issuer.introspect(token["access_token"])["act"] == act
    again = issuer.exchange("cli", token["access_token"], "access_token").json["access_token"]
    assert issuer.introspect(again)["act"] == act
    answer = issuer.exchange("cli", subject(issuer, may_act={"sub": "another"}), **form)
    assert answer.json["error"] == "invalid_request"
    assert issuer.exchange("cli", subject(issuer), actor_token=actor).status == 400
    assert issuer.exchange("cli", subject(issuer), actor_token_type=TYPE + "jwt").status == 400
    forged = {**form, "actor_token": OTHER.forge("another key", {"sub": "x", "aud": issuer.url})}
    assert issuer.exchange("cli", subject(issuer), **forged).status == 400


def test_its_own_tokens_as_subjects(http_exchange: OidcProvider) -> None:
    """An access token gives no more than it has; a refresh token is its client's alone."""
    issuer = trusting(http_exchange)
    issuer.habits(refresh_token=True)
    tokens = issuer.exchange("post", subject(issuer), resource=OPAQUE, scope="read").json
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    narrower = issuer.exchange("cli", access, "access_token", resource=OPAQUE)
    assert narrower.json["scope"] == "read"
    answer = issuer.exchange("cli", access, "access_token", scope="write")
    assert answer.json["error"] == "invalid_scope"
    assert issuer.exchange("post", refresh, "refresh_token", resource=OPAQUE).status == 200
    assert issuer.exchange("basic", refresh, "refresh_token").status == 400
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "resource": OPAQUE}
    rotated = issuer.token("post", **form).json["refresh_token"]
    assert issuer.exchange("post", refresh, "refresh_token").status == 400
    issuer.post("/token/revocation", "post", token=rotated)
    assert issuer.exchange("cli", access, "access_token").status == 400


def test_targets(http_exchange: OidcProvider) -> None:
    """Resource and audience say whom the token is for: opaque, signed, several, or refused."""
    issuer = trusting(http_exchange)

    def ask(**form: str) -> Answer:
        return issuer.exchange("cli", subject(issuer), **form)

    assert issuer.introspect(ask(audience="billing").json["access_token"])["aud"] == "billing"
    both = ask(audience="billing", resource=OPAQUE).json["access_token"]
    assert issuer.introspect(both)["aud"] == [OPAQUE, "billing"]
    assert unverified_claims(ask(resource=SIGNED).json["access_token"])["aud"] == SIGNED
    refused = [ask(audience="refused"), ask(resource="https://refused.example"), ask(resource="x")]
    assert [answer.json["error"] for answer in refused] == ["invalid_target"] * 3
    assert ask(scope="everything").json["error"] == "invalid_scope"
    assert ask(requested_token_type=TYPE + "saml2").json["error"] == "invalid_request"


def test_habits_of_others(http_exchange: OidcProvider) -> None:
    """A refresh token comes along, members are missing or others, until the reset."""
    issuer = trusting(http_exchange)
    issuer.habits(
        refresh_token=True, answer={"issued_token_type": None, "scope": None, "token_type": "N_A"}
    )
    odd = issuer.exchange("cli", subject(issuer), resource=OPAQUE).json
    assert odd.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert odd["token_type"] == "N_A"
    form = {"grant_type": "refresh_token", "refresh_token": odd["refresh_token"]}
    assert issuer.token("cli", **form, resource=OPAQUE).status == 200
    issuer.habits(answer={"issued_token_type": TYPE + "jwt"}, scope="read")
    odd = issuer.exchange("cli", subject(issuer), scope="read write").json
    assert (odd["issued_token_type"], odd["scope"]) == (TYPE + "jwt", "read")
    issuer.habits(refusal="invalid_grant")
    assert issuer.exchange("cli", "nonsense").json["error"] == "invalid_grant"
    issuer.reset()
    assert issuer.exchange("cli", "nonsense").json["error"] == "invalid_request"


def test_a_grant_for_another_issuer(two_issuers: tuple[OidcProvider, OidcProvider]) -> None:
    """Issuer one makes out an identity assertion grant; issuer two gives a token for it, once."""
    first, second = two_issuers
    trusting(first)
    second.trust(first)
    token = id_jag(first, second, resource=OPAQUE, scope="read write")
    claims = unverified_claims(token)
    assert (claims["client_id"], claims["aud"]) == ("post", second.url)
    answer = bear(second, token)
    assert answer.json["scope"] == "read write"
    said = {"sub": "job-1", "client_id": "post", "scope": "read write", "aud": OPAQUE}
    assert second.use(answer.json["access_token"]).json == said
    assert bear(second, token).json["error"] == "invalid_grant"
    assert bear(first, token).json["error"] == "invalid_grant"
    assert first.exchange("cli", token).status == 400


def test_what_a_grant_is_refused_for(two_issuers: tuple[OidcProvider, OidcProvider]) -> None:
    """Another client, another audience, another typ, more scopes, an issuer without this right."""
    first, second = two_issuers
    trusting(first)
    second.trust(first, once=False)
    token = id_jag(first, second, scope="read")
    assert bear(second, token, "basic").json["error"] == "invalid_grant"
    assert bear(second, token, scope="write").json["error"] == "invalid_scope"
    assert bear(second, token).status == bear(second, token).status == 200
    second.trust(PLATFORM.issuer, PLATFORM.jwks, assertions=False)
    claims = {"sub": "x", "aud": second.url, "client_id": "post"}
    assert bear(second, PLATFORM.sign(claims, typ="oauth-id-jag+jwt")).status == 200
    wrong: list[tuple[dict[str, Any], str]] = [
        (claims, "JWT"),
        (claims, "at+jwt"),
        ({**claims, "aud": [second.url, "https://b.example"]}, "oauth-id-jag+jwt"),
        ({**claims, "aud": second.url + "/"}, "oauth-id-jag+jwt"),
        ({**claims, "jti": None}, "oauth-id-jag+jwt"),
    ]
    answers = [bear(second, PLATFORM.sign(changed, typ=typ)) for changed, typ in wrong]
    assert [answer.json["error"] for answer in answers] == ["invalid_grant"] * len(wrong)
    second.trust_nobody()
    second.trust(first, id_jag=False)
    assert bear(second, id_jag(first, second)).json["error"] == "invalid_grant"


def test_what_no_grant_is_made_out_for(http_exchange: OidcProvider) -> None:
    """An access token is no identity assertion, one audience is a must, and it says N_A."""
    issuer = trusting(http_exchange)
    wanted = {"requested_token_type": TYPE + "id-jag"}
    access = issuer.exchange("post", subject(issuer)).json["access_token"]
    form = {**wanted, "audience": "https://b.example"}
    assert issuer.exchange("post", access, "access_token", **form).status == 400
    assert issuer.exchange("post", subject(issuer), **wanted).json["error"] == "invalid_request"
    issuer.habits(clients={"https://b.example": "known-there"}, grant_ttl=10)
    given = issuer.exchange("post", subject(issuer), **form).json
    assert (given["token_type"], given["expires_in"]) == ("N_A", 10)
    assert unverified_claims(given["access_token"])["client_id"] == "known-there"
    plain = {**form, "requested_token_type": TYPE + "jwt"}
    chained = unverified_claims(
        issuer.exchange("post", subject(issuer), **plain).json["access_token"]
    )
    assert "client_id" not in chained


@pytest.mark.parametrize("forgery", sorted(FORGERIES.keys() - BELIEVED))
def test_a_forged_assertion_is_refused(http_exchange: OidcProvider, forgery: str) -> None:
    """RFC 7523, 3.1: whatever is wrong with an assertion is an invalid grant."""
    issuer = trusting(http_exchange)
    claims = {"sub": "job-1", "aud": issuer.url}
    for typ, status in (("JWT", 200), (None, 200), ("at+jwt", 400)):
        assert bear(issuer, PLATFORM.sign(claims, typ=typ), "cli").status == status
    assert bear(issuer, PLATFORM.forge(forgery, claims), "cli").json["error"] == "invalid_grant"


def test_the_grants_are_off_by_default(http_issuer: OidcProvider) -> None:
    """An issuer without the option knows neither grant."""
    answer = http_issuer.exchange("cli", "x")
    assert answer.json["error"] == "unsupported_grant_type"
    assert TOKEN_EXCHANGE not in http_issuer.metadata()["grant_types_supported"]
