"""The real google-auth, its STS on loopback, and brokerctl as the executable that it runs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tests.contracts.session_contract import POOL
from tests.idp import main_job
from tests.idp.issuer import OidcProvider
from tests.program import PROGRAM
from tests.tools.clients import require_client
from tests.tools.room import let_expire
from tests.tools.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

JWT_RESOURCE = '["https://jwt.example"]'
# What a user's program does: google-auth finds the file by its variable and runs what it names.
CLIENT = """
import sys
import google.auth, google.auth.transport.requests
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
try:
    credentials.refresh(google.auth.transport.requests.Request())
except google.auth.exceptions.GoogleAuthError as error:
    sys.exit(f"refused: {error}")
print(credentials.token)
"""


class GoogleSts(Serving):
    """Gives an access token for a subject token that the issuer believes; `asked` has each form."""

    def __init__(self, issuer: OidcProvider) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.is_refusing = False
        sts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Exchange a token (RFC 8693)."""
                data = self.rfile.read(int(self.headers["Content-Length"]))
                form = parse_qs(data.decode())
                sts.asked.append(form)
                is_good = not sts.is_refusing and issuer.use(form["subject_token"][0]).status == 200
                said = {
                    "access_token": "ya29.google",
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    "token_type": "Bearer",
                    "expires_in": 3600,
                }
                body = json.dumps(said if is_good else {"error": "invalid_grant"}).encode()
                self.send_response(200 if is_good else 400)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.listen(Handler)
        self.url += "/v1/token"


class Desk:
    """A home with a profile whose tokens are JWTs, and google-auth."""

    def __init__(self, program: Program, issuer: OidcProvider, sts: GoogleSts) -> None:
        self.program = program
        self.issuer = issuer
        self.sts = sts
        program.env["BROKERCTL_KEEPER"] = "file"
        share = os.path.join(program.home, ".local", "share")
        self.file = os.path.join(share, "brokerctl", "helpers", "gcp.json")

    def serve(self, **keys: str) -> None:
        """Have a profile that needs no person, and the credential file."""
        given = {"google": f'{{ pool = "{POOL}" }}', "resource": JWT_RESOURCE}
        main_job.service(self.program, self.issuer, **{**given, **keys})
        self.install("service")

    def log_in(self, **keys: str) -> None:
        """Have alice logged in, and the credential file."""
        given = {"google": f'{{ pool = "{POOL}" }}', "resource": JWT_RESOURCE}
        main_job.person(self.program, self.issuer, **{**given, **keys})
        browser = main_job.scripted_browser(self.issuer)
        done = self.program("login", "person", env=browser)
        assert done.returncode == 0, done.stderr
        self.install("person")

    def install(self, name: str) -> None:
        """Write the credential file."""
        done = self.program("helper", "install", "gcp", "-p", name, "--yes")
        assert (done.returncode, done.stdout) == (0, f"gcp: installed, {self.file}\n")
        assert f"GOOGLE_APPLICATION_CREDENTIALS={self.file}" in done.stderr

    def change(self, **keys: Any) -> None:  # noqa: ANN401 - what JSON holds
        """Change the credential file as somebody else might."""
        with open(self.file, encoding="utf-8") as file:
            body = json.load(file)
        with open(self.file, "w", encoding="utf-8") as file:
            json.dump({**body, **keys}, file)

    def copy(self) -> str:
        """Return a copy of the credential file, if there is one, for the STS on loopback."""
        path = os.path.join(self.program.home, "credentials.json")
        if not os.path.exists(self.file):
            return self.file
        with open(self.file, encoding="utf-8") as file:
            body = json.load(file)
        assert body["token_url"] == "https://sts.googleapis.com/v1/token"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**body, "token_url": self.sts.url}, file)
        return path

    def run(self, *, code: int = 0, **env: str) -> str:
        """Run the client; return what it printed on both streams."""
        variables = {
            "GOOGLE_APPLICATION_CREDENTIALS": self.copy(),
            "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
            "GOOGLE_CLOUD_PROJECT": "shop",
            **env,
        }
        words = [require_client("python"), "-W", "ignore", "-c", CLIENT]
        done = subprocess.run(
            words,
            env=self.program.environment(variables),
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.program.keep(tuple(words), done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return (done.stdout + done.stderr).strip()

    def tokens(self) -> int:
        """Return how many tokens were asked of the issuer."""
        return sum(self.issuer.counts()["grants"].values())


@pytest.fixture(scope="module")
def shared(trace_dir: str) -> Iterator[OidcProvider]:
    """Return an issuer of signed tokens; the embedded one has none."""
    folder = tempfile.mkdtemp(prefix="gcp-issuer-", dir=trace_dir)
    with OidcProvider(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def desk(brokerctl: Program, shared: OidcProvider) -> Iterator[Desk]:
    """Return a desk, and an issuer that has counted nothing."""
    shared.reset()
    with GoogleSts(shared) as sts:
        yield Desk(brokerctl, shared, sts)


def test_first_and_warm_use(desk: Desk) -> None:
    """Google gets the profile's JWT for its own pool; the issuer is asked once."""
    desk.serve()
    for _ in range(2):
        assert desk.run() == "ya29.google"
    assert desk.tokens() == 1
    token = desk.program("get", "service").stdout.strip()
    assert {form["subject_token"][0] for form in desk.sts.asked} == {token}
    assert {form["audience"][0] for form in desk.sts.asked} == {POOL}


def test_an_expired_token_is_refreshed_once(desk: Desk) -> None:
    """However many of the library's calls meet it."""
    desk.log_in()
    let_expire(desk.program, desk.issuer)
    for _ in range(2):
        assert desk.run() == "ya29.google"
    assert desk.issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token_is_the_library_s_own_failure(desk: Desk) -> None:
    """It shows what Google said, and nothing of the token."""
    desk.serve()
    desk.sts.is_refusing = True
    said = desk.run(code=1)
    token = desk.program("get", "service").stdout.strip()
    assert "invalid_grant" in said
    assert token not in said


def test_a_revoked_grant_fails_cleanly(desk: Desk) -> None:
    """The library shows our message and hint; Google is not asked."""
    desk.log_in()
    assert desk.run() == "ya29.google"
    assert desk.program("revoke", "person").returncode in {0, 9}
    said = desk.run(code=1)
    assert "run 'brokerctl login person'" in said
    assert "login_needed" in said
    assert len(desk.sts.asked) == 1


def test_another_pool_gets_nothing(desk: Desk) -> None:
    """A credential file from elsewhere, for a pool that is not the profile's: no hand-out."""
    desk.serve()
    desk.change(audience=POOL.replace("team", "evil"))
    assert "the audience is not the pool of 'service'" in desk.run(code=1)
    assert desk.tokens() == 0
    [refused] = desk.program("audit", "log", "--event", "token", "--json").stdout.splitlines()
    assert json.loads(refused)["event"] in {"token.refused", "token.denied"}


def test_an_opaque_token_is_not_sent(desk: Desk) -> None:
    """Google takes a JWT; what is none does not leave."""
    desk.serve(resource='["https://api.example"]')
    assert "is no JWT" in desk.run(code=1)
    assert not desk.sts.asked
    assert "token.not_delivered" in desk.program("audit", "log").stdout


def test_the_library_s_own_opt_in(desk: Desk) -> None:
    """Without it nothing runs; and our program asks for it too."""
    desk.serve()
    desk.run(code=1, GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES="0")
    done = desk.program("helper", "gcp", "--profile", "service")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["success"] is False


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_an_output_file(desk: Desk, mode: int) -> None:
    """Written for the user alone and read by the library; not where others can write."""
    desk.serve()
    folder = os.path.join(desk.program.home, "cache")
    os.mkdir(folder)
    os.chmod(folder, mode)
    path = os.path.join(folder, "out.json")
    with open(desk.file, encoding="utf-8") as file:
        run = json.load(file)["credential_source"]["executable"]
    desk.change(credential_source={"executable": {**run, "output_file": path}})
    if mode != 0o700:
        assert "others can write" in desk.run(code=1)
        assert not os.path.exists(path)
        return
    assert desk.run() == "ya29.google"
    assert os.stat(path).st_mode & 0o777 == 0o600
    handed_out = desk.program("audit", "log", "--event", "token.handed_out", "--json").stdout
    assert desk.run() == "ya29.google"  # from the file
    os.unlink(path)
    again = desk.program("audit", "log", "--event", "token.handed_out", "--json").stdout
    assert again == handed_out


def test_stderr_is_empty_at_the_very_first_use(desk: Desk) -> None:
    """When the key is made, which is told of otherwise: the library reads both streams as one."""
    given = {"google": f'{{ pool = "{POOL}" }}', "resource": JWT_RESOURCE}
    main_job.service(desk.program, desk.issuer, **given)
    env = {
        "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
        "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": POOL,
        "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
    }
    desk.program.env["BROKERCTL_KEEPER"] = None
    done = subprocess.run(
        [PROGRAM, "helper", "gcp", "--profile", "service"],
        env=desk.program.environment(env),
        cwd=desk.program.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["success"]) == (0, True)


def test_what_is_in_the_output_file_was_handed_out(desk: Desk) -> None:
    """Also where stdout can't be written to: the record does not say that it went nowhere."""
    desk.serve()
    os.mkdir(os.path.join(desk.program.home, "child"), 0o700)
    path = os.path.join(desk.program.home, "child", "out.json")
    env = {
        "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
        "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": POOL,
        "GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE": path,
        "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
    }
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [PROGRAM, "helper", "gcp", "--profile", "service"],
            env=desk.program.environment(env),
            cwd=desk.program.home,
            stdin=subprocess.DEVNULL,
            stdout=full,
            timeout=60,
            check=False,
        )
    with open(path, "rb") as file:
        assert json.load(file)["success"]
    log = desk.program("audit", "log").stdout
    assert "token.handed_out" in log
    assert "token.not_delivered" not in log


def test_installed_and_gone(desk: Desk) -> None:
    """The file is ours: made, left as it is by a second install, and removed."""
    desk.serve()
    done = desk.program("helper", "install", "gcp", "-p", "service")
    assert done.stdout == f"gcp: installed already, {desk.file}\n"
    assert os.stat(desk.file).st_mode & 0o777 == 0o600
    done = desk.program("helper", "uninstall", "gcp", "--yes")
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(desk.file)
    assert desk.run(code=1)
