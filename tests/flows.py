"""Plays flows without a driver: contexts, canned answers, and a small driver over real HTTP."""

from __future__ import annotations

import functools
import json
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from joserfc.jwk import RSAKey

from brokerctl.errors import IssuerError
from brokerctl.model import Profile
from brokerctl.oauth.client_auth import ClientCredentials, FlowContext
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.metadata import Metadata
from brokerctl.oauth.steps import Identify, Listen, Proof, Run, Send, ShowUserCode, Visit, Wait
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from brokerctl.effects.http import Http
    from brokerctl.oauth.message import HttpRequest

ISSUER = "https://issuer.example.com"
NOW = 1_000_000.0
CLAIMS = '{"platform":"github"}'  # what was proven of a job
REDIRECT_URI = "http://127.0.0.1:4242/callback"


def profile(**changes: Any) -> Profile:  # noqa: ANN401 - fields of Profile
    """Return a profile of the issuer of the unit tests."""
    fields = {"name": "p", "issuer": ISSUER, "flow": "code", "client_id": "cli", **changes}
    return Profile(**fields)


def metadata(**changes: Any) -> Metadata:  # noqa: ANN401 - fields of Metadata
    """Return metadata with every endpoint."""
    fields: dict[str, Any] = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/auth",
        "token_endpoint": f"{ISSUER}/token",
        "device_authorization_endpoint": f"{ISSUER}/device",
        "revocation_endpoint": f"{ISSUER}/revoke",
        "introspection_endpoint": f"{ISSUER}/introspect",
        "code_challenge_methods_supported": ("S256",),
    }
    return Metadata(**fields | changes)


def context(
    of: Profile | None = None,
    *,
    about: Metadata | None = None,
    secret: str | None = None,
    key_pem: str | None = None,
    **changes: Any,  # noqa: ANN401 - fields of FlowContext
) -> FlowContext:
    """Return the context of one flow; scopes and resource are the profile's."""
    of = of or profile()
    return FlowContext(
        profile=of,
        metadata=about or metadata(),
        credentials=ClientCredentials(
            secret=Secret(secret) if secret else None, key_pem=Secret(key_pem) if key_pem else None
        ),
        **{
            "scopes": of.scopes,
            "resource": of.resource,
            "audience": of.audience,
            "now": lambda: NOW,
            "random": os.urandom,
            **changes,
        },
    )


def answer(
    body: object = None, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> HttpResponse:
    """Return an answer; bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(
        status=status, headers=tuple(headers), body=data, sent_at=NOW, received_at=NOW + 1
    )


def issued(**changes: object) -> HttpResponse:
    """Return a token response."""
    return answer({"access_token": "at-1", "token_type": "Bearer", "expires_in": 60} | changes)


STS_WORDS = {
    "AccessKeyId": "ASIAEXAMPLEEXAMPLE00",
    "SecretAccessKey": "wJalr/XUtnFEMI+K7MDENG-example-of-aws",
    "SessionToken": "FQoGZXIvYXdzEBYaD-example-of-a-session/+=",
}
STS_ENDS = "1970-01-12T14:46:40Z"  # an hour after NOW
STS_VALUE = (
    f'{{"AccessKeyId":"{STS_WORDS["AccessKeyId"]}","Expiration":"{STS_ENDS}",'
    f'"SecretAccessKey":"{STS_WORDS["SecretAccessKey"]}",'
    f'"SessionToken":"{STS_WORDS["SessionToken"]}","Version":1}}'
)


def sts_answer(**changes: str) -> HttpResponse:
    """Return what STS answers; `changes` are of the credentials' elements."""
    held = {**STS_WORDS, "Expiration": STS_ENDS} | changes
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in held.items())
    name = "AssumeRoleWithWebIdentity"
    text = (
        f'<{name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{name}Result>'
        f"<Credentials>{inner}</Credentials></{name}Result></{name}Response>"
    )
    return answer(text.encode())


def sts_error(code: str, message: str = "said by STS", status: int = 400) -> HttpResponse:
    """Return an error of STS."""
    text = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
        f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>r-1</RequestId></ErrorResponse>"
    )
    return answer(text.encode(), status)


def form_of(request: HttpRequest) -> dict[str, list[str]]:
    """Return what a request's body says."""
    assert request.body is not None
    return parse_qs(request.body.reveal(), keep_blank_values=True)


def json_of(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object that a request's body is."""
    assert request.body is not None
    found: dict[str, Any] = json.loads(request.body.reveal())
    return found


@functools.cache
def app_key() -> str:
    """Return one RSA key in PEM, made once: it takes a tenth of a second."""
    return RSAKey.generate_key(2048).as_pem(private=True).decode()


class Played:
    """What came of a flow: its value, the steps it took, and the forms it sent."""

    def __init__(self, value: Any, steps: list[Any]) -> None:  # noqa: ANN401 - what the flow returns
        self.value = value
        self.steps = steps

    def of(self, kind: type) -> list[Any]:
        """Return the steps of one kind."""
        return [step for step in self.steps if isinstance(step, kind)]

    @property
    def requests(self) -> list[HttpRequest]:
        """Return the requests in order."""
        return [step.request for step in self.of(Send)]


def play(
    flow: Generator[Any, Any, Any],
    *answers: HttpResponse | BaseException,
    callback: Callable[[Visit], str] | None = None,
    steps: list[Any] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> Played:
    """Run a flow on canned answers; an exception among them is thrown in. `steps` is filled.

    `sign` is the profile's command that gets a text and prints a signature.
    """
    left = deque(answers)
    taken: list[Any] = [] if steps is None else steps
    try:
        step = next(flow)
        while True:
            taken.append(step)
            if isinstance(step, Send):
                outcome = left.popleft()
                step = (
                    flow.throw(outcome)
                    if isinstance(outcome, BaseException)
                    else flow.send(outcome)
                )
            elif isinstance(step, Listen):
                step = flow.send(REDIRECT_URI)
            elif isinstance(step, Visit):
                assert callback is not None
                step = flow.send(callback(step))
            elif isinstance(step, Identify):
                step = flow.send(Proof(token=Secret("job.of.platform"), claims=CLAIMS))
            elif isinstance(step, Run):
                assert sign is not None
                step = flow.send(sign(step.given or b""))
            else:
                assert isinstance(step, Wait | ShowUserCode)
                step = flow.send(None)
    except StopIteration as end:
        assert not left, "an answer was never asked for"
        return Played(end.value, taken)


def drive(
    flow: Generator[Any, Any, Any], http: Http, on: Callable[[Any], Any] | None = None
) -> Any:  # noqa: ANN401 - what the flow returns
    """Run a flow over real HTTP; what is neither Send nor Wait goes to `on`."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Send):
                try:
                    response = http.send(step.request)
                except IssuerError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
            elif isinstance(step, Wait):
                time.sleep(step.seconds)
                step = flow.send(None)
            else:
                assert on is not None
                step = flow.send(on(step))
    except StopIteration as end:
        return end.value
