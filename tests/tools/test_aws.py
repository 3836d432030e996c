"""The real AWS command line and boto3 against moto's STS and S3, with brokerctl's credentials."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import PROGRAM
from tests.tools.clients import require_client
from tests.tools.room import PLACES

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program, Result
    from tests.tools.sts_server import Sts

ROLE = "arn:aws:iam::123456789012:role/deploy"
WHO = ("sts", "get-caller-identity", "--query", "Arn", "--output", "text")
BOTO = """
import boto3, sys
session = boto3.Session(profile_name=sys.argv[1])
s3 = session.client("s3")
s3.create_bucket(Bucket="shop")
s3.put_object(Bucket="shop", Key="a", Body=b"yes")
print(s3.get_object(Bucket="shop", Key="a")["Body"].read().decode())
print(session.client("sts").get_caller_identity()["Arn"])
"""


class Desk:
    """A home in which AWS's tools run brokerctl for the credentials of some profiles."""

    def __init__(self, program: Program, sts: Sts) -> None:
        self.program = program
        self.sts = sts
        program.env["BROKERCTL_KEEPER"] = "file"
        self.aws = os.path.join(program.home, ".aws", "config")

    def add(self, name: str = "deploy", source: str = "service", **keys: str) -> None:
        """Have one more profile, which takes its web identity from another."""
        given = {"role": ROLE, "session": "alice", "endpoint": self.sts.url, **keys}
        table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in given.items())
        path = os.path.join(self.program.home, "config.toml")
        with open(path, encoding="utf-8") as file:
            before = file.read()
        exchange = source if source.startswith("{") else f'{{ profile = "{source}" }}'
        self.program.config(
            f'{before}\n[profile.{name}]\nflow = "aws_web_identity"\n'
            f"aws = {{ {table} }}\nexchange = {{ subject = {exchange} }}\n"
        )

    def tell(self, *names: str, program: str = PROGRAM) -> None:
        """Write a section for each name, as the page shows it."""
        os.makedirs(os.path.dirname(self.aws), exist_ok=True)
        with open(self.aws, "w", encoding="utf-8") as file:
            file.writelines(
                f"[profile {name}]\nregion = us-east-1\n"
                f"credential_process = '{program}' helper aws --profile {name}\n"
                for name in names
            )

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        """Run a tool; return what it printed on both streams."""
        variables = {
            "AWS_ENDPOINT_URL": self.sts.url,
            "AWS_ENDPOINT_URL_S3": self.sts.s3,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            **env,
        }
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
        self.program.keep(words, done.stdout, done.stderr)
        assert (done.returncode == 0) == (code == 0), done.stdout + done.stderr
        return done.stdout + done.stderr

    def who(self, name: str = "deploy", *, code: int = 0) -> str:
        """Ask the command line who it is."""
        return self.run(require_client("aws"), "--profile", name, *WHO, code=code).strip()

    def ask(self, name: str = "deploy") -> Result:
        """Ask brokerctl as AWS's tools do, whose own start takes a second."""
        return self.program("helper", "aws", "--profile", name)

    def records(self, event: str) -> list[dict[str, object]]:
        """Return the log's lines of one event."""
        done = self.program("audit", "log", "--event", event, "--json")
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def desk(brokerctl: Program, issuer: DemoIssuer, sts: Sts) -> Desk:
    """Return a desk with a profile for one role, whose web identity is a service's token."""
    desk = Desk(brokerctl, sts)
    main_job.service(brokerctl, issuer)
    desk.add()
    desk.tell("deploy")
    return desk


def log_in(desk: Desk, issuer: DemoIssuer) -> None:
    """Have alice logged in, and a role for her token."""
    main_job.person(desk.program, issuer)
    desk.add(source="person")
    done = desk.program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr
    issuer.reset()


def test_first_and_warm_use(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """One request to the issuer, one to STS, both tokens in the record, and a role that works."""
    for _ in range(2):
        assert desk.who() == "arn:aws:sts::123456789012:assumed-role/deploy/alice"
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert [one.is_given for one in sts.assumed] == [True]
    handed_out = [(one["profile"], one["outcome"]) for one in desk.records("token.handed_out")]
    assert handed_out[:2] == [("service", "issue"), ("deploy", "issue")]
    assert set(handed_out[2:]) == {("deploy", "cache")}


def test_boto3_and_the_command_line_share_it(desk: Desk, sts: Sts) -> None:
    """Whatever reads AWS's configuration; S3 takes what is signed with it."""
    python = require_client("python")
    assert desk.run(python, "-c", BOTO, "deploy").split() == ["yes", desk.who()]
    assert len(sts.assumed) == 1


def test_many_at_once_ask_sts_once(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """The one that holds the lock asks for both tokens; the others wait for it."""
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _: desk.program("helper", "aws", "--profile", "deploy"), range(8))
        )
    assert {one.returncode for one in found} == {0}
    assert len({one.stdout for one in found}) == 1
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert len(sts.assumed) == 1


def test_expired_credentials_are_renewed_once(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """However many calls meet them; the web identity is still good and is not asked for again."""
    sts.lifetime_s = 3
    assert desk.program("get", "deploy").returncode == 0
    sts.lifetime_s = None
    time.sleep(3.1)
    for _ in range(2):
        assert desk.ask().returncode == 0
    desk.who()
    assert len(sts.assumed) == 2
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_a_short_session_is_served_for_half_of_its_life(desk: Desk, sts: Sts) -> None:
    """AWS's tools ask for it again at each use; STS is not asked each time."""
    sts.lifetime_s = 890
    assert desk.ask().returncode == 0
    desk.who()
    assert len(sts.assumed) == 1


def test_another_role_is_another_session(desk: Desk, sts: Sts) -> None:
    """Each with its own credentials, its duration and its policy, from one and the same token."""
    statement = '{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}'
    policy = f'{{"Version":"2012-10-17","Statement":[{statement}]}}'
    desk.add("audit", role=f"{ROLE[:-6]}path/audit", duration="30m", policy=policy)
    desk.tell("deploy", "audit")
    assert desk.ask().returncode == 0
    assert desk.who("audit").endswith("/audit/alice")
    given = [(one.role.rpartition("/")[2], one.duration, one.policy) for one in sts.assumed]
    assert given == [("deploy", None, None), ("audit", "1800", policy)]


def test_a_web_identity_from_a_file(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """It is read anew each time: whoever writes it has renewed it."""
    path = os.path.join(desk.program.home, "identity")
    desk.add("pod", source=f'{{ file = "{path}" }}')
    desk.tell("pod")
    for _ in range(2):
        token = issuer.token("basic", grant_type="client_credentials").json["access_token"]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{token}\n")
        assert desk.ask("pod").returncode == 0
        issuer.post("/token/revocation", "basic", token=token)
        desk.program("revoke", "pod")
    assert [one.is_given for one in sts.assumed] == [True, True]
    os.chmod(path, 0o644)
    assert "is open to others" in desk.who("pod", code=1)
    os.unlink(path)


def test_a_token_that_sts_refuses(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """STS's code and our hint come through, nothing of the token does, and nothing is stored."""
    token = desk.program("get", "service").stdout.strip()
    issuer.post("/token/revocation", "basic", token=token)  # behind our back
    said = desk.who(code=1)
    assert "brokerctl: error: the issuer of 'deploy' answered ExpiredTokenException" in said
    assert token not in said
    assert desk.program("get", "service", "--fresh").returncode == 0
    assert desk.program("get", "deploy", "--fresh").returncode == 0
    assert desk.ask().returncode == 0
    assert [one.is_given for one in sts.assumed] == [False, True]


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidIdentityToken", "ValidationError"])
def test_what_sts_says_no_to(desk: Desk, sts: Sts, code: str) -> None:
    """Exit 5 with the code; whoever comes back too early is not sent again."""
    sts.code = code
    done = desk.program("helper", "aws", "--profile", "deploy")
    assert (done.returncode, done.stdout) == (5, "")
    assert f"answered {code}" in done.stderr
    assert desk.program("helper", "aws", "--profile", "deploy").returncode == 5
    assert len(sts.assumed) == 1


def test_a_revoked_grant_is_aws_s_own_failure(desk: Desk, issuer: DemoIssuer, sts: Sts) -> None:
    """The command line shows whose login is needed; STS is not asked."""
    log_in(desk, issuer)
    assert desk.ask().returncode == 0
    desk.program("revoke", "deploy")
    desk.program("revoke", "person")
    said = desk.who(code=1)
    assert "Error when retrieving credentials from custom-process" in said
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert desk.program("helper", "aws", "--profile", "deploy").returncode == 3
    assert len(sts.assumed) == 1


def test_a_revoke_says_what_it_can_not_do(desk: Desk) -> None:
    """STS ends no session by its token; what is forgotten here is asked for anew."""
    before = desk.program("get", "deploy").stdout
    done = desk.program("revoke", "deploy")
    assert "local only until" in done.stdout
    assert desk.program("get", "deploy").stdout != before


def test_a_profile_without_a_role(desk: Desk) -> None:
    """A token is no credentials of AWS's, and those are no token for another tool."""
    done = desk.program("helper", "aws", "--profile", "service")
    assert (done.returncode, done.stdout) == (2, "")
    done = desk.program("helper", "pnpm", "--profile", "deploy")
    assert (done.returncode, done.stdout) == (2, "")
    done = desk.program("get", "deploy", "--format", "header")
    assert (done.returncode, done.stdout) == (2, "")


def test_exec_sets_the_three_variables(desk: Desk) -> None:
    """And takes the others away that AWS's tools would read; the real one finds its role."""
    region = ("--region", "us-east-1")
    words = ("exec", "-p", "deploy", "--", require_client("aws"), *region, *WHO)
    env = {"AWS_ENDPOINT_URL": desk.sts.url, "AWS_PROFILE": "nobody"}
    done = desk.program(*words, env=env)
    assert (done.returncode, done.stdout) == (
        0,
        "arn:aws:sts::123456789012:assumed-role/deploy/alice\n",
    )


def test_masking_knows_the_three_apart(desk: Desk) -> None:
    """A child that prints one of them, or the JSON, prints stars."""
    script = 'echo "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN"'
    done = desk.program("exec", "--mask", "-p", "deploy", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "**** **** ****\n")
    words = ("exec", "--mask", "--env", "CREDS=deploy", "--", "sh", "-c", 'echo "$CREDS"')
    assert desk.program(*words).stdout == "****\n"


@pytest.mark.parametrize("place", PLACES)
def test_through_a_link_and_from_a_folder_with_a_space(desk: Desk, place: str) -> None:
    """As uv and pipx install it; AWS splits the line as a shell would."""
    folder = tempfile.mkdtemp(prefix=f"{place} ", dir=desk.program.home)
    link = os.path.join(folder, "brokerctl")
    os.symlink(PROGRAM, link)
    desk.tell("deploy", program=link)
    assert desk.who().endswith("/deploy/alice")
