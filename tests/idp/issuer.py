"""The certified oidc-provider as a context manager, with what a test wants to see and do."""

from __future__ import annotations

import base64
import json
import os
import select
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote_plus, urlencode

from tests.idp.browser import Browser
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.idp.browser import Page

SERVER = os.path.join(os.path.dirname(__file__), "oidc-provider", "server.mjs")
TYPE = "urn:ietf:params:oauth:token-type:"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEMO = os.path.join(os.path.dirname(__file__), "demo.py")
INSTALLED = os.path.join(os.path.dirname(SERVER), "node_modules", "oidc-provider")
TRACE_DIR = "BROKERCTL_TEST_TRACE_DIR"
# Node takes one second, on a machine under load much longer; and once in some hundred starts
# node 20 stops for ever, its threads waiting for each other. So it is tried again.
START_S = (30.0, 60.0)


def note_file(trace: str) -> str:
    """Return a new file in which an issuer notes its secrets for the canary test."""
    folder = os.path.join(trace, "secrets")
    os.makedirs(folder, exist_ok=True)
    fd, path = tempfile.mkstemp(dir=folder)
    os.close(fd)
    return path


class Answer(NamedTuple):
    """An HTTP answer with its JSON, which is {} where the body is none."""

    status: int
    headers: Mapping[str, str]
    json: dict[str, Any]


class OidcProvider:
    """A running issuer: `with OidcProvider(folder, tls=True) as issuer: … issuer.url …`.

    Its clients, by id: `cli` and `device` are public and native; `basic`, `post`, `secret-jwt` and
    (with `jwks`) `key-jwt` authenticate as their names say, with `secrets`. Resources are opaque,
    `https://jwt.*` ones get signed tokens, `https://refused.*` is refused. Options are those of
    server.mjs: `access_ttl=2`, `auto_approve=True`, `no_rotate=True`, `port=…`, `exchange=True`.
    """

    def __init__(
        self,
        folder: str,
        *,
        tls: bool = False,
        jwks: Mapping[str, Any] | None = None,
        **options: int | str | bool,
    ) -> None:
        self._argv = ["node", SERVER]
        self.ca_file: str | None = None
        self.shows_forms = True  # to a person who logs in
        if tls:
            files = make_tls(folder)
            self.ca_file = files.ca_file
            self._argv.append(f"--tls={files.server_file}")
        if jwks is not None:
            path = os.path.join(folder, "jwks.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(jwks, file)
            self._argv.append(f"--jwks={path}")
        for name, value in options.items():
            switch = "--" + name.replace("_", "-")
            if value is True:
                self._argv.append(switch)
            elif value is not False:
                self._argv.append(f"{switch}={value}")
        trace = os.environ.get(TRACE_DIR)
        if trace:
            self._argv.append(f"--record={note_file(trace)}")
        self._log = os.path.join(folder, "issuer.log")
        self._context = ssl.create_default_context(cafile=self.ca_file)
        self.url = ""
        self.secrets: dict[str, str | None] = {}
        self._trusted: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        line = b""
        for wait_s in START_S:
            line = self._start(wait_s)
            if line:
                break
            self.__exit__()
        if not line:
            code = self._process.returncode
            with open(self._log, encoding="utf-8") as log_text:
                message = f"the issuer did not start ({code}):\n{log_text.read()[-2000:]}"
            raise RuntimeError(message)
        said = json.loads(line)
        self.url = said["issuer"]
        self.secrets = said["clients"]
        return self

    def _start(self, wait_s: float) -> bytes:
        """Start the process and return its first line, or nothing."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], wait_s)
        return self._process.stdout.readline() if ready else b""

    def __exit__(self, *_exception: object) -> None:
        """Stop it; everything that it issued dies with it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # What it saw, and how it behaves.

    def counts(self) -> dict[str, dict[str, int]]:
        """Return requests to the token endpoint since the last reset.

        `grants` by grant type as asked, `issued` those answered with 200, `paths` all requests.
        """
        return self.get("/__counts").json

    def reset(self) -> None:
        """Forget the counts and every mode; what was issued stays."""
        self.send("/__reset", b"")

    def mode(self, **endpoints: str) -> None:
        """Change how an endpoint answers: `mode(token="503")`.

        Endpoints: token, revocation, introspection, device, metadata. Modes: `ok`, `hang`, a
        status, `slow:MS`, and `lost`, which is carried out but never answered; `503*2` is for two.
        """
        answer = self.send("/__mode", json.dumps(endpoints).encode())
        assert answer.status == 200, answer

    # Token exchange and JWT bearer, with the option `exchange=True`: exchange.mjs has the rules.

    @property
    def jwks_url(self) -> str:
        """The address of its public keys."""
        return f"{self.url}/jwks"

    def trust(
        self,
        issuer: str | OidcProvider,
        jwks: Mapping[str, Any] | str | None = None,
        **rules: object,
    ) -> None:
        """Believe what another issuer signed, beside whom it believes already.

        `jwks`: the public keys themselves, a file, or a URL; the latter two are read each time.
        Rules: `audience` (a text or a list; None: this issuer's own identifier), `types` (those of
        a subject, without the URN; `jwt` and `id_token`), `scopes` (what it may give, a list),
        `once` (True: each `jti` works once, False: again; None: once for an identity assertion
        grant alone), `max_age_s` (of `iat`), `id_jag` and `assertions` (whether it takes
        identity assertion grants, and other JWTs, as JWT bearer assertions; both True),
        `confidential` (identity assertion grants from clients with a secret alone; False).
        """
        if isinstance(issuer, OidcProvider):
            entry: dict[str, Any] = {"issuer": issuer.url, "ca_file": issuer.ca_file}
            entry["jwks"] = jwks or issuer.jwks_url
        else:
            entry = {"issuer": issuer, "jwks": jwks}
        entry |= {"id_jag": True, "assertions": True, "types": ["jwt", "id_token"], **rules}
        entry["types"] = [TYPE + name for name in entry["types"]]
        self._trusted.append({name: value for name, value in entry.items() if value is not None})
        self._tell("/__trust", self._trusted)

    def trust_nobody(self) -> None:
        """Believe no other issuer from now on."""
        self._trusted = []
        self._tell("/__trust", [])

    def habits(self, **habits: object) -> None:
        """Do some things as other issuers do, until the next call or reset.

        `refresh_token=True`: one comes along; `scope="read"`: what is granted, whatever was asked;
        `answer={…}`: members of the answer put in its place, None leaves one out;
        `refusal="invalid_grant"`: the code for a bad subject, where RFC 8693 has `invalid_request`;
        `grant_ttl=10`: seconds that a grant for another issuer lives; `clients={audience: id}`:
        what the client is called there.
        """
        self._tell("/__habits", habits)

    def exchanges(self) -> list[dict[str, Any]]:
        """Return the requests of both grants since the last reset, with the proven claims.

        Each has `grant_type`, `client_id`, `scope`, `audience`, `resource`, `is_given`, and as far
        as it got `subject`, `actor`, `act` or `assertion`, and the token that was `given`.
        """
        seen: list[dict[str, Any]] = self.get("/__exchanges").json["seen"]
        return seen

    def exchange(self, client_id: str, subject: str, kind: str = "jwt", **form: str) -> Answer:
        """Ask for a token exchange; `kind` is the subject's type without the URN."""
        form = {"subject_token": subject, "subject_token_type": TYPE + kind, **form}
        return self.token(client_id, grant_type=TOKEN_EXCHANGE, **form)

    def _tell(self, path: str, body: object) -> None:
        answer = self.send(path, json.dumps(body).encode())
        assert answer.status == 200, answer

    # A person.

    def approve(self, url: str, *, account: str = "alice", deny: bool = False) -> Page:
        """Log in and consent at the authorization URL `url`, up to the client's own page."""
        return Browser(self.ca_file, account=account, deny=deny).open(url)

    def approve_device(
        self, user_code: str, verification_uri: str, *, account: str = "alice", deny: bool = False
    ) -> Page:
        """Enter a device's user code, log in and confirm."""
        browser = Browser(self.ca_file, account=account, deny=deny)
        return browser.open_device(verification_uri, user_code)

    # Raw HTTP, without brokerctl.

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document."""
        return self.get("/.well-known/openid-configuration").json

    def token(self, client_id: str, **form: str) -> Answer:
        """Ask the token endpoint as the client `client_id`."""
        return self.post("/token", client_id, **form)

    def introspect(self, token: str, client_id: str = "post") -> dict[str, Any]:
        """Return what the issuer says of an opaque token."""
        answer = self.post("/token/introspection", client_id, token=token)
        assert answer.status == 200, answer
        return answer.json

    def is_active(self, token: str) -> bool:
        """Whether the issuer still honours an opaque token."""
        return bool(self.introspect(token)["active"])

    def use(self, token: str, scope: str | None = None) -> Answer:
        """Present an access token, opaque or signed, to a resource of this issuer's."""
        query = f"?scope={scope}" if scope else ""
        return self.get(f"/__resource{query}", Authorization=f"Bearer {token}")

    def post(self, path: str, client_id: str, **form: str) -> Answer:
        """Post a form, authenticated as the client's method wants it (no assertions)."""
        secret = self.secrets.get(client_id)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if client_id == "basic" and secret:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif client_id:
            form["client_id"] = client_id
        if client_id == "post" and secret:
            form["client_secret"] = secret
        return self.send(path, urlencode(form).encode(), **headers)

    def get(self, path: str, **headers: str) -> Answer:
        """Get `path`."""
        return self.send(path, None, **headers)

    def send(self, path: str, body: bytes | None, **headers: str) -> Answer:
        """Send one request to this issuer."""
        request = urllib.request.Request(self.url + path, body, headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            answer = opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            data = answer.read()
            return Answer(answer.status, answer.headers, json.loads(data) if data else {})


class DemoIssuer(OidcProvider):
    """The embedded issuer of `brokerctl demo`, with the same face."""

    def __init__(self, folder: str, **options: Any) -> None:  # noqa: ANN401 - the harness's options
        super().__init__(folder, **options)
        self._argv[:2] = [sys.executable, "-I", DEMO, "--until-eof"]
        self.shows_forms = options.get("auto_approve") is not True

    def change(self, **settings: float | str | bool) -> None:
        """Change settings of the running issuer: `change(access_ttl=1)`.

        It has one mode more than the other: `held` is answered when the mode is changed again.
        """
        answer = self.send("/__mode", json.dumps(settings).encode())
        assert answer.status == 200, answer
