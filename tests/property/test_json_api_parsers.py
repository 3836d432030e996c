"""Whatever GitHub's, Google's or an index's API answers: a token that can be used, or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl.config.scope_levels import complete, is_within
from brokerctl.errors import IssuerError
from brokerctl.model import LOCAL_ONLY, REVOKED, UNKNOWN, Exchange, Reference
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.revocation import REVOKERS
from brokerctl.policy import find_broader
from brokerctl.secret import Secret
from tests.flows import NOW, app_key, context, issued, metadata, play, profile

if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext

OF_JOB = Exchange(
    subject=Reference(kind="identity", target=()),
    subject_type="urn:ietf:params:oauth:token-type:jwt",
)
STATUS = st.sampled_from([200, 200, 201, 201, 204, 302, 400, 401, 403, 404, 422, 429, 500])
WORDS = st.sampled_from(
    [
        *("token", "expires_at", "permissions", "repositories", "repository_selection", "name"),
        *("message", "accessToken", "expireTime", "error", "status", "code", "errors", "detail"),
        *("description", "expires", "rubygems_api_key", "contents", "metadata", "success"),
    ]
)
LIKELY = st.sampled_from(["read", "write", "selected", "all", "docs", "1970-01-12T14:46:40Z", "t"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | LIKELY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=12,
)


def _render(value: object) -> bytes:
    """Write NaN and lone surrogates too, which our own writer refuses."""
    return json.dumps(value).encode()


BODIES = st.binary(max_size=100) | st.dictionaries(WORDS, JSON, max_size=10).map(_render)
ANSWERS = st.builds(HttpResponse, status=STATUS, body=BODIES, sent_at=st.just(NOW))
SCOPES = st.lists(
    st.sampled_from(
        [
            *("repo:a", "repo:b", "contents:read", "contents:write", "contents:admin"),
            *("issues:read", "issues:write"),
        ]
    ),
    max_size=4,
).map(lambda found: tuple(sorted(set(found))))


def contexts() -> dict[str, tuple[FlowContext, tuple[HttpResponse, ...]]]:
    """Return a context of each flow, and the answers that come before the one that is tried."""
    of_job = {"exchange": OF_JOB, "identity_audience": "x"}
    github = profile(flow="github_app", scopes=("contents:read", "repo:docs"))
    google = profile(flow="google_workload", scopes=("s",), **of_job)
    acting = context(google, about=metadata(impersonation_endpoint="https://iam.example/x"))
    return {
        "github_app": (context(github, key_pem=app_key()), ()),
        "google_workload": (acting, (issued(),)),
        "publish": (context(profile(flow="publish", client_id="python", **of_job)), ()),
    }


@pytest.mark.parametrize("name", ["github_app", "google_workload", "publish"])
@given(ANSWERS)
@example(HttpResponse(status=201, body=b"[" * 100_000))
@example(HttpResponse(status=201, body=b'{"token":"t","permissions":{"\\ud800":"read"}}'))
@example(HttpResponse(status=422, body=b'{"message":"\\u001b[2J\\ud800"}'))
def test_no_answer_breaks_a_flow(name: str, response: HttpResponse) -> None:
    """A token that can go into a header with a life that means something, or one line of error."""
    ctx, before = contexts()[name]
    tries = 2 if response.status >= 500 else 1
    got, said = None, ""
    try:
        got = play(find_flow(name).obtain(ctx), *before, *[response] * tries).value
    except IssuerError as error:
        said = (
            f"{error.message} {error.description or ''}"
            if hasattr(error, "description")
            else error.message
        )
    assert said.isprintable()
    assert len(said) < 1000
    if got is None:
        return
    assert all("!" <= char <= "~" for char in got.access_token.reveal())
    assert got.expires_in is None or 0 <= got.expires_in <= 365 * 86400
    assert all(scope.isprintable() and " " not in scope for scope in got.scopes)


@given(ANSWERS)
def test_no_answer_breaks_a_revocation(response: HttpResponse) -> None:
    """It is an outcome, and only the API's own word is that a token is dead."""
    ctx, _ = contexts()["github_app"]
    said = play(REVOKERS["holder"](ctx, Secret("t"), "access_token"), response).value
    assert said.outcome in {REVOKED, UNKNOWN, LOCAL_ONLY}
    assert said.outcome != REVOKED or response.status in {200, 204, 401}


@given(SCOPES, SCOPES)
def test_what_is_completed_is_no_more_than_was_allowed(
    asked: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    """Each kind that the profile limits is limited in every request, and nothing in it is new."""
    within = tuple(one for one in asked if is_within(one, allowed))
    found = complete(within, allowed)
    assert set(within) <= set(found)
    assert all(is_within(one, allowed) for one in found)
    for is_repository in (True, False):
        of_kind = [one for one in allowed if one.startswith("repo:") is is_repository]
        left = [one for one in found if one.startswith("repo:") is is_repository]
        assert not of_kind or left
    assert complete(found, allowed) == found


@given(SCOPES, SCOPES)
def test_nothing_broader_is_overlooked(asked: tuple[str, ...], granted: tuple[str, ...]) -> None:
    """What is not broader lies within what was asked for."""
    broader = find_broader(asked, granted, has_levels=True)
    assert not set(broader) & set(asked)
    assert not asked or all(is_within(one, asked) for one in set(granted) - set(broader))
