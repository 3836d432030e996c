"""What every flow promises, whatever it is: one class, three lines for each flow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlencode

import pytest

from brokerctl.errors import BrokerError, IssuerError, OAuthError
from brokerctl.model import FLOWS, Exchange, Reference
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.steps import Listen, ShowUserCode, Visit
from brokerctl.oauth.tokens import ACCESS_TOKEN
from brokerctl.secret import Secret
from tests.flows import (
    ISSUER,
    NOW,
    STS_VALUE,
    answer,
    app_key,
    context,
    form_of,
    issued,
    json_of,
    metadata,
    play,
    profile,
    sts_answer,
    sts_error,
)

if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse
    from tests.flows import Played

SECRET = "s3cret-of-the-client"
OF_FILE = Exchange(
    subject=Reference(kind="file", target=("/run/token",)),
    subject_type="urn:ietf:params:oauth:token-type:jwt",
)


def with_subject(ctx: FlowContext) -> FlowContext:
    """Return a context that has a token to be exchanged."""
    credentials = ctx.credentials.replace(subject_token=Secret("subject.of.exchange"))
    return ctx.replace(credentials=credentials)


def _visit(step: Visit) -> str:
    return urlencode({"code": "c-1", "state": step.state.reveal()})


class FlowContract:
    """Inherited once a flow; `before` are the answers that come before the token's."""

    name: ClassVar[str]
    before: ClassVar[tuple[HttpResponse, ...]] = ()
    code: ClassVar[str] = "unauthorized_client"

    def context(self, **fields: object) -> FlowContext:
        """Return a context of this flow with a secret and all that can be sent."""
        chosen: dict[str, object] = {
            "flow": self.name,
            "client_auth": "client_secret_post",
            "scopes": ("a", "b"),
            "resource": ("https://r1", "https://r2"),
            "extra": '{"tenant":"t1"}',
            **fields,
        }
        return context(profile(**chosen), secret=SECRET)

    def issued(self, **changes: object) -> HttpResponse:
        """Return an answer with a token."""
        return issued(**changes)

    def refused(self, code: str) -> HttpResponse:
        """Return an answer that says no."""
        return answer({"error": code}, 400)

    def run(self, ctx: FlowContext, last: HttpResponse | BaseException) -> Played:
        """Run the flow on its canned answers and a last one."""
        return play(find_flow(self.name).obtain(ctx), *self.before, last, callback=_visit)

    def test_it_gives_a_token(self) -> None:
        """The answer holds what the issuer sent, and the scopes asked for where it says nothing."""
        got = self.run(self.context(), self.issued()).value
        assert (got.access_token, got.expires_in) == (Secret("at-1"), 60)
        assert got.scopes == ("a", "b")

    def test_it_needs_a_person_or_not(self) -> None:
        """`needs_person` is true exactly where a step is for one."""
        steps = self.run(self.context(), self.issued())
        is_for_person = bool(steps.of(Listen) + steps.of(Visit) + steps.of(ShowUserCode))
        assert FLOWS[self.name].needs_person is is_for_person

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """Each resource by itself (RFC 8707, 2.2), to every endpoint that is posted to."""
        for request in self.run(self.context(), self.issued()).requests:
            assert form_of(request)["resource"] == ["https://r1", "https://r2"]
            assert form_of(request)["tenant"] == ["t1"]

    def test_it_sends_an_audience_if_it_takes_one(self) -> None:
        """Each by itself (RFC 8693, 2.1); the configuration refuses the key for all other flows."""
        takes = FLOWS[self.name].takes_audience
        for request in self.run(self.context(audience=("a", "b c")), self.issued()).requests:
            assert form_of(request).get("audience") == (["a", "b c"] if takes else None)

    def test_it_keeps_resource_back_where_the_issuer_refuses_it(self) -> None:
        """`send_resource = false`."""
        for request in self.run(self.context(send_resource=False), self.issued()).requests:
            assert "resource" not in form_of(request)

    def test_it_authenticates_each_request(self) -> None:
        """The client's own authentication goes to the issuer's endpoints and nowhere else."""
        played = self.run(self.context(), self.issued())
        assert played.requests
        for request in played.requests:
            assert form_of(request)["client_secret"] == [SECRET]
            assert request.url.startswith(f"{ISSUER}/")
            assert request.method == "POST"

    def test_it_shows_no_secret(self) -> None:
        """Nothing that is printed of steps and answer holds a secret."""
        played = self.run(self.context(), self.issued(refresh_token="rt-1"))
        shown = repr(played.steps) + repr(played.value)
        for secret in (SECRET, "at-1", "rt-1", "c-1", "dc-1"):
            assert secret not in shown

    def test_it_asks_for_nobody_elses_password(self) -> None:
        """No flow sends a user name and password or takes a token from a front channel."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert not {"username", "password", "access_token"} & set(form_of(request))
        for step in played.of(Visit):
            assert "response_type=code&" in step.url
            assert SECRET not in step.url

    def test_an_issuers_no_is_an_oauth_error(self) -> None:
        """A code of the issuer's is passed on."""
        with pytest.raises(OAuthError) as caught:
            self.run(self.context(), self.refused(self.code))
        assert caught.value.error == self.code

    def test_a_broken_answer_is_an_issuer_error(self) -> None:
        """HTML with 200 ends the flow with exit 5."""
        with pytest.raises(IssuerError):
            self.run(self.context(), answer(b"<html>"))

    def test_a_missing_endpoint_is_named(self) -> None:
        """Without a token endpoint nothing is sent and nobody is bothered."""
        ctx = self.context().replace(metadata=metadata(token_endpoint=None))
        with pytest.raises(BrokerError, match="token_endpoint"):
            play(find_flow(self.name).obtain(ctx))


class TestClientCredentials(FlowContract):
    """RFC 6749, 4.4."""

    name = "client_credentials"


class TestAwsWebIdentity(FlowContract):
    """AssumeRoleWithWebIdentity: no client says who it is, the web identity does."""

    name = "aws_web_identity"
    code = "AccessDenied"

    def context(self, **fields: object) -> FlowContext:
        """Return a context with a web identity, and as the configuration compiles it."""
        chosen: dict[str, object] = {"flow": self.name, "extra": '{"RoleSessionName":"ci"}'}
        chosen["exchange"] = OF_FILE
        ctx = context(profile(**chosen | fields), secret=SECRET)
        identity = Secret("web.identity.token")
        return ctx.replace(credentials=ctx.credentials.replace(subject_token=identity))

    def issued(self, **changes: object) -> HttpResponse:
        """Return what STS answers."""
        return sts_answer(**{name: str(value) for name, value in changes.items()})

    def refused(self, code: str) -> HttpResponse:
        """Return an error of STS."""
        return sts_error(code)

    def test_it_gives_a_token(self) -> None:
        """Three words and when they end are the value of one token, which is no bearer token."""
        got = self.run(self.context(), self.issued()).value
        assert got.access_token == Secret(STS_VALUE)
        assert (got.token_type, got.expires_in, got.scopes) == ("N_A", 3600, ())
        assert got.refresh_token is None

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """What the profile's table says is sent, and nothing of OAuth's."""
        for request in self.run(self.context(), self.issued()).requests:
            assert form_of(request) == {
                "Action": ["AssumeRoleWithWebIdentity"],
                "Version": ["2011-06-15"],
                "RoleArn": ["cli"],
                "RoleSessionName": ["ci"],
                "WebIdentityToken": ["web.identity.token"],
            }

    def test_it_authenticates_each_request(self) -> None:
        """The web identity goes to the endpoint and nowhere else; no other secret goes along."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert (request.method, request.url) == ("POST", f"{ISSUER}/token")
            assert SECRET not in str(form_of(request))
        assert "web.identity" not in repr(played.steps)


class TestGitHubApp(FlowContract):
    """GitHub's own API: the app's JWT says who asks, and no client's secret goes along."""

    name = "github_app"
    code = "401"

    def context(self, **fields: object) -> FlowContext:
        """Return a context as the configuration compiles it, with the app's key."""
        chosen: dict[str, object] = {
            "flow": self.name,
            "client_key": Reference(kind="file", target=("/k.pem",)),
            "extra": '{"installation":"7"}',
            "scopes": ("contents:read", "repo:docs"),
        }
        ctx = context(profile(**chosen | fields), secret=SECRET, key_pem=app_key())
        return ctx.replace(metadata=metadata(token_endpoint=f"{ISSUER}/token"))

    def issued(self, **changes: object) -> HttpResponse:
        """Return what GitHub answers with 201."""
        body = {"token": "at-1", "expires_at": "1970-01-12T13:47:40Z"}
        return answer(body | changes, 201)

    def refused(self, code: str) -> HttpResponse:
        """Return an error of GitHub's API."""
        return answer({"message": "Bad credentials", "status": code}, int(code))

    def test_it_gives_a_token(self) -> None:
        """Its scopes are what the answer says of permissions and repositories."""
        said = {
            "permissions": {"contents": "read", "metadata": "read"},
            "repository_selection": "selected",
            "repositories": [{"name": "Docs"}],
        }
        got = self.run(self.context(), self.issued(**said)).value
        assert (got.access_token, got.expires_in) == (Secret("at-1"), 60)
        assert got.scopes == ("contents:read", "metadata:read", "repo:docs")

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """Repositories and permissions are sent as GitHub documents, and nothing else is."""
        for request in self.run(self.context(), self.issued()).requests:
            assert json_of(request) == {
                "repositories": ["docs"],
                "permissions": {"contents": "read"},
            }

    def test_it_keeps_resource_back_where_the_issuer_refuses_it(self) -> None:
        """Where neither repository nor permission is named, all of the installation are asked."""
        for request in self.run(self.context(scopes=()), self.issued()).requests:
            assert json_of(request) == {}

    def test_it_authenticates_each_request(self) -> None:
        """The app's JWT goes to the endpoint and nowhere else; no other secret goes along."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert (request.method, request.url) == ("POST", f"{ISSUER}/token")
            named = {name: value for name, value in request.headers if name != "authorization"}
            assert named == {
                "content-type": "application/json",
                "accept": "application/vnd.github+json",
                "x-github-api-version": "2022-11-28",
            }
            assert SECRET not in str(json_of(request))
        assert SECRET not in repr(played.steps)

    def test_it_asks_for_nobody_elses_password(self) -> None:
        """What is sent is what is asked for, and holds no name of a person."""
        (request,) = self.run(self.context(), self.issued()).requests
        assert not {"username", "password", "access_token"} & set(json_of(request))


class TestGoogleWorkload(FlowContract):
    """Google's STS: RFC 8693 without a client, the identity alone says who asks."""

    name = "google_workload"

    def context(self, **fields: object) -> FlowContext:
        """Return a context as the configuration compiles it."""
        return with_subject(super().context(**{"exchange": OF_FILE} | fields))

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """The pool is the audience; of what OAuth has else nothing is sent."""
        (request,) = self.run(self.context(), self.issued()).requests
        assert form_of(request) == {
            "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            "audience": ["cli"],
            "requested_token_type": [ACCESS_TOKEN],
            "scope": ["a b"],
            "subject_token": ["subject.of.exchange"],
            "subject_token_type": [OF_FILE.subject_type],
        }

    def test_it_sends_an_audience_if_it_takes_one(self) -> None:
        """The pool's name is the audience, whatever else is asked for."""
        for request in self.run(self.context(audience=("a", "b c")), self.issued()).requests:
            assert form_of(request)["audience"] == ["cli"]

    def test_it_authenticates_each_request(self) -> None:
        """No secret of a client goes along."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert (request.method, request.url) == ("POST", f"{ISSUER}/token")
            assert SECRET not in str(form_of(request))
        assert "subject.of" not in repr(played.steps)


class TestAzureWorkload(FlowContract):
    """Entra's client credentials, the identity being the client's assertion."""

    name = "azure_workload"

    def context(self, **fields: object) -> FlowContext:
        """Return a context as the configuration compiles it."""
        return with_subject(super().context(**{"exchange": OF_FILE} | fields))

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """What Entra documents, and nothing else."""
        (request,) = self.run(self.context(), self.issued()).requests
        assert form_of(request) == {
            "grant_type": ["client_credentials"],
            "client_id": ["cli"],
            "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
            "client_assertion": ["subject.of.exchange"],
            "scope": ["a b"],
        }

    def test_it_authenticates_each_request(self) -> None:
        """The assertion stands for the client's secret, which is not sent."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert (request.method, request.url) == ("POST", f"{ISSUER}/token")
            assert SECRET not in str(form_of(request))
        assert "subject.of" not in repr(played.steps)


class TestPublish(FlowContract):
    """A package index's own exchange: JSON, the identity alone, and the index's own words."""

    name = "publish"
    code = "invalid-publisher"

    def context(self, **fields: object) -> FlowContext:
        """Return a context as the configuration compiles it, of an index for Python."""
        chosen: dict[str, object] = {"client_id": "python", "exchange": OF_FILE, "scopes": ()}
        return with_subject(super().context(**chosen | fields))

    def issued(self, **changes: object) -> HttpResponse:
        """Return what the index answers."""
        return answer({"success": True, "token": "at-1", "expires": NOW + 60} | changes)

    def refused(self, code: str) -> HttpResponse:
        """Return an error of the index."""
        errors = [{"code": code, "description": "no such publisher"}]
        return answer({"message": "Token request failed", "errors": errors}, 422)

    def test_it_gives_a_token(self) -> None:
        """It has no scopes: the index knows what it is for."""
        got = self.run(self.context(), self.issued()).value
        assert (got.access_token, got.expires_in, got.scopes) == (Secret("at-1"), 60, ())

    def test_it_sends_resource_and_extra_to_the_token_endpoint(self) -> None:
        """The identity, and nothing else."""
        (request,) = self.run(self.context(), self.issued()).requests
        assert json_of(request) == {"token": "subject.of.exchange"}

    def test_it_authenticates_each_request(self) -> None:
        """No secret of a client goes along."""
        played = self.run(self.context(), self.issued())
        for request in played.requests:
            assert (request.method, request.url) == ("POST", f"{ISSUER}/token")
            assert SECRET not in str(json_of(request))
        assert "subject.of" not in repr(played.steps)


class TestTokenExchange(FlowContract):
    """RFC 8693, section 2."""

    name = "token_exchange"

    def context(self, **fields: object) -> FlowContext:
        """Return a context with somebody's token, and a client of its own."""
        return with_subject(super().context(**{"exchange": OF_FILE} | fields))


class TestJwtBearer(FlowContract):
    """RFC 7523, section 2.1."""

    name = "jwt_bearer"

    def context(self, **fields: object) -> FlowContext:
        """Return a context with somebody's assertion, and a client of its own."""
        return with_subject(super().context(**{"exchange": OF_FILE} | fields))


class TestCode(FlowContract):
    """RFC 6749, 4.1."""

    name = "code"


class TestDevice(FlowContract):
    """RFC 8628."""

    name = "device"
    before = (
        answer(
            json.dumps(
                {
                    "device_code": "dc-1",
                    "user_code": "A-B",
                    "verification_uri": f"{ISSUER}/d",
                    "expires_in": 60,
                }
            ).encode()
        ),
    )


def test_every_flow_has_its_contract() -> None:
    """A flow in the table without three lines here is not finished."""
    assert {made.name for made in FlowContract.__subclasses__()} == set(FLOWS)
