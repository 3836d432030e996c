"""Each platform keeps the contract of who signs a job's identity: a few lines for each."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config.platforms import PLATFORMS
from brokerctl.errors import BrokerError, IssuerError, UnsentError, UsageError
from brokerctl.identity import find_job
from brokerctl.identity.proof import prove
from brokerctl.identity.spiffe import find_socket
from brokerctl.model import Reference
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.steps import FetchSvid, Svid
from brokerctl.secret import Secret
from tests.contracts.platform_contract import NOT_NEW_S, PlatformContract
from tests.identities import AUDIENCE, ENVIRONS, REQUEST_TOKEN, play

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.steps import Proof

ID = "spiffe://td/w"


class TestGitHub(PlatformContract):
    """GitHub Actions."""

    name = "github"

    def test_the_legs_of_a_matrix_are_apart(self) -> None:
        """They have everything but the address in common."""
        other = self.environ["ACTIONS_ID_TOKEN_REQUEST_URL"].replace("j-1", "j-2")
        leg = find_job(self.source, self.environ | {"ACTIONS_ID_TOKEN_REQUEST_URL": other})
        assert leg.id not in {None, find_job(self.source, self.environ).id}

    def test_what_is_sent(self) -> None:
        """The audience is quoted, and the job's own token is shown to that address alone."""
        _, taken = self.prove(self.token())
        request = taken[0].request
        assert request.url.endswith("?api-version=2.0&audience=https%3A%2F%2Fissuer.example.com")
        assert dict(request.headers)["authorization"].reveal() == f"Bearer {REQUEST_TOKEN}"

    @pytest.mark.parametrize("url", ["http://evil.example/x?", "ftp://x", "file:///etc/passwd"])
    def test_its_token_goes_to_https_alone(self, url: str) -> None:
        """Security: whoever can set the address would get it."""
        self.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = url
        with pytest.raises(UsageError):
            self.prove(self.token())

    @pytest.mark.parametrize("server", ["https://github.com", "https://GitHub.com/"])
    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example/88//idtoken/p-1/j-1?x=.actions.githubusercontent.com",
            "https://actions.githubusercontent.com.evil.example/88//idtoken/p-1/j-1",
            "https://xactions.githubusercontent.com/88//idtoken/p-1/j-1",
            "http://127.0.0.1:8/idtoken/p-1/j-1",
        ],
    )
    def test_a_job_of_github_com_asks_github(self, server: str, url: str) -> None:
        """Security: a step before ours can set the address, and would get the job's own token."""
        self.environ |= {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "GITHUB_SERVER_URL": server}
        with pytest.raises(UsageError, match=r"GITHUB_SERVER_URL is https://github\.com") as error:
            self.prove(self.token())
        assert ".actions.githubusercontent.com" in (error.value.hint or "")
        assert REQUEST_TOKEN not in error.value.message

    @pytest.mark.parametrize(
        ("server", "host"),
        [
            ("https://github.com", "run-actions-1-azure-eastus.actions.githubusercontent.com"),
            ("https://github.com", "pipelines.actions.githubusercontent.com"),
            ("https://ghes.example", "ghes.example"),
            ("https://octo.ghe.com", "run-actions-1.actions.octo.ghe.com"),
        ],
    )
    def test_each_server_asks_at_its_own_hosts(self, server: str, host: str) -> None:
        """GitHub's own, and an Enterprise Server's, for which nothing is pinned by name."""
        url = f"https://{host}/88//idtoken/p-1/j-1?api-version=2.0"
        self.environ |= {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "GITHUB_SERVER_URL": server}
        _, taken = self.prove(self.token())
        assert taken[0].request.url.startswith(f"https://{host}/")

    def test_a_branch_is_a_ref_of_heads(self) -> None:
        """A tag is none."""
        for ref, branch in (("refs/heads/a/b", "a/b"), ("refs/tags/v1", None)):
            said = json.loads(self.prove(self.token(ref=ref))[0].claims)
            assert (said["ref"], said.get("branch")) == (ref, branch)


class TestGitLab(PlatformContract):
    """GitLab CI."""

    name = "gitlab"
    target = ("MY_TOKEN",)
    variable = "MY_TOKEN"


class TestBuildkite(PlatformContract):
    """Buildkite."""

    name = "buildkite"

    def test_what_is_run(self) -> None:
        """The agent, as it documents it."""
        _, taken = self.prove(self.token())
        words = ("buildkite-agent", "oidc", "request-token", "--audience", AUDIENCE)
        assert taken[0].words == words


class TestCircleCI(PlatformContract):
    """CircleCI, without its program."""

    name = "circleci"
    variable = "CIRCLE_OIDC_TOKEN_V2"

    def test_a_token_that_was_made_for_us_is_new(self) -> None:
        """Without its program there is the one in the variable, which is as old as the job."""
        token = self.token(iat=int(time.time()) - NOT_NEW_S)
        assert self.prove(token)[0].token.reveal() == token

    def test_what_is_run(self, tmp_path: Path) -> None:
        """Its program, where there is one; what it makes is new."""
        program = tmp_path / "circleci"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.environ["PATH"] = str(tmp_path)
        _, taken = self.prove(self.token())
        claims = json.dumps({"aud": AUDIENCE}, separators=(",", ":"))
        assert taken[0].words == ("circleci", "run", "oidc", "get", "--claims", claims)
        with pytest.raises(IssuerError, match="older than five minutes"):
            self.prove(self.token(iat=int(time.time()) - NOT_NEW_S))


class TestAzurePipelines(PlatformContract):
    """Azure Pipelines."""

    name = "azure_pipelines"
    member = "oidcToken"
    audience = "api://AzureADTokenExchange"


class TestBitbucket(PlatformContract):
    """Bitbucket Pipelines."""

    name = "bitbucket"
    variable = "BITBUCKET_STEP_OIDC_TOKEN"


class TestKubernetes(PlatformContract):
    """A projected service-account token."""

    name = "kubernetes"

    def test_the_job_is_the_pod(self) -> None:
        """By its uid; a token that names no pod is of no known job."""
        self.file.write_text(self.token(**{"kubernetes.io": {"pod": {"uid": "u-1"}}}))
        assert find_job(self.source, {}).id == '["kubernetes","u-1"]'
        self.file.write_text(self.token(**{"kubernetes.io": {}}))
        assert find_job(self.source, {}).id is None
        self.file.unlink()
        assert find_job(self.source, {}).id is None


class TestSpiffe(PlatformContract):
    """A JWT-SVID in a file."""

    name = "spiffe"

    def test_the_job_is_the_svid(self) -> None:
        """By its id."""
        self.file.write_text(self.token(iss=None, sub="spiffe://td/w"))
        assert find_job(self.source, {}).id == '["spiffe","spiffe://td/w"]'


class TestSpiffeAgent(TestSpiffe):
    """A JWT-SVID from the agent behind a socket."""

    target = ("unix:///run/agent.sock",)

    def token(self, **claims: Any) -> str:  # noqa: ANN401 - claims are JSON
        """Return a JWT-SVID."""
        return super().token(**{"sub": ID} | claims)

    def test_it_proves_who_the_job_is(self) -> None:
        """The SVID's id, which nobody knows before it came; the audience is free."""
        token = self.token(iss=None)
        proof, taken = self.prove(token)
        assert proof.token.reveal() == token
        said = json.loads(proof.claims)
        assert (said["sub"], said["job"]) == (ID, f'["spiffe","{ID}"]')
        assert [(one.socket, one.audience) for one in taken] == [("/run/agent.sock", AUDIENCE)]

    def test_the_job_is_the_svid(self) -> None:
        """Which nobody knows before the agent has answered: no file of a clone's says it."""
        folder = self.file.parent / "unix:" / "run"
        folder.mkdir(parents=True)
        (folder / "agent.sock").write_text(self.token())
        with contextlib.chdir(self.file.parent):
            assert find_job(self.source, {}).id is None

    def test_a_token_that_was_made_for_us_is_new(self) -> None:
        """An agent gives one again until half of its lifetime is over, and none that is older."""
        now = int(time.time())
        for age, lifetime in ((299, 310), (301, 700), (1700, 3600)):
            token = self.token(iat=now - age, exp=now - age + lifetime)
            assert self.prove(token)[0].token.reveal() == token
        for age, lifetime in ((301, 400), (1900, 3600), (3500, 3600)):
            token = self.token(iat=now - age, exp=now - age + lifetime)
            with pytest.raises(IssuerError, match="older than five minutes"):
                self.prove(token)
        with pytest.raises(IssuerError, match="older than five minutes"):
            self.prove(self.token(iat=None))

    def test_its_token_is_of_the_id_beside_it(self) -> None:
        """And that is a SPIFFE id."""
        for sub, named in ((ID, f"{ID}/other"), ("a", "a"), (None, ID), (["a"], ID)):
            svid = Svid(token=Secret(self.token(sub=sub)), id=named)
            with pytest.raises(IssuerError, match="not of the id beside it"):
                self.prove(None, svid=svid)

    def test_what_is_wrong_is_told_as_it_is(self) -> None:
        """What the agent or the way to it says."""
        for error in (UsageError("it knows no identity"), IssuerError("it did not answer")):
            with pytest.raises(type(error), match=error.message):
                self.prove(None, svid=error)

    def test_a_path_that_is_a_socket_is_asked(self, tmp_path: Path) -> None:
        """Without the scheme it is looked at; a file is read, and so is what is not there yet."""
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            source = Reference(kind="spiffe", target=(str(path),))
            svid = Svid(token=Secret(self.token()), id=ID)
            _, taken = play(prove(source, {}, AUDIENCE, time.time()), svid=svid)
            assert isinstance(taken[0], FetchSvid)
            home = {"HOME": str(tmp_path)}
            short = Reference(kind="spiffe", target=("~/s",))
            assert find_socket("~/s", home) == "~/s"
            assert find_job(short, home).id is None
        assert find_socket(str(tmp_path / "none"), {}) is None


class TestGoogleMetadata(PlatformContract):
    """Google's metadata server."""

    name = "google_metadata"

    def prove(self, token: str | None, **answers: Any) -> tuple[Proof, list[Any]]:  # noqa: ANN401 - of `play`
        """Have it answer with the token alone, as it does."""
        if token is not None:
            answers = {"response": self.answer(token)} | answers
        return super().prove(None, **answers)

    @staticmethod
    def answer(token: str, status: int = 200, flavor: str = "Google") -> HttpResponse:
        """Return an answer of a metadata server."""
        headers = (("metadata-flavor", flavor),)
        return HttpResponse(status=status, headers=headers, body=token.encode())

    def test_what_is_sent(self) -> None:
        """One question, to the link-local address, with the header that a browser can't send."""
        _, taken = self.prove(self.token())
        request = taken[0].request
        path = "/computeMetadata/v1/instance/service-accounts/default/identity"
        query = "audience=https%3A%2F%2Fissuer.example.com&format=full"
        assert request.url == f"http://169.254.169.254{path}?{query}"
        assert (request.headers, request.body) == ((("metadata-flavor", "Google"),), None)

    def test_another_on_loopback(self) -> None:
        """As Google's clients take it; elsewhere it would be asked in the clear."""
        self.environ["GCE_METADATA_HOST"] = "127.0.0.1:8080"
        _, taken = self.prove(self.token())
        assert taken[0].request.url.startswith("http://127.0.0.1:8080/computeMetadata/v1/")
        for place in (
            "metadata.google.internal",
            "10.0.0.1",
            "u@127.0.0.1",
            "127.0.0.1/x?",
            "[::1",
            "",
        ):
            self.environ["GCE_METADATA_HOST"] = place
            if place:
                with pytest.raises(UsageError, match="on loopback alone"):
                    self.prove(self.token())
        assert self.prove(self.token())[1][0].request.url.startswith("http://169.254.169.254/")

    def test_who_answers_says_that_it_is_google_s(self) -> None:
        """Another server at that address, as other clouds have, is told from it."""
        for flavor in ("Amazon", "google", ""):
            with pytest.raises(UnsentError, match="what answered for"):
                self.prove(None, response=self.answer(self.token(), flavor=flavor))
        with pytest.raises(UnsentError, match="what answered for"):
            self.prove(None, response=HttpResponse(status=200, body=self.token().encode()))

    def test_a_machine_without_a_service_account(self) -> None:
        """Is told what it needs."""
        with pytest.raises(UsageError, match="answered 404") as caught:
            self.prove(None, response=self.answer("", 404))
        assert "a service account of this machine" in (caught.value.hint or "")

    def test_the_job_is_the_instance(self) -> None:
        """By its number, once it came; of a machine that says none, by its service account."""
        claims = {"compute_engine": {"instance_id": "42", "project_id": "shop"}}
        proof, _ = self.prove(self.token(google=claims, email="ci@shop.example", sub="7"))
        said = json.loads(proof.claims)
        assert said["job"] == '["google_metadata","42"]'
        assert (said["actor"], said["environment"]) == ("ci@shop.example", "shop")
        assert find_job(self.source, self.environ).id is None
        others: list[Any] = [None, [], {"compute_engine": 1}]
        for google in others:
            said = json.loads(self.prove(self.token(google=google, sub="7"))[0].claims)
            assert said["job"] == '["google_metadata","7"]'


class TestFile(PlatformContract):
    """Any other file."""

    name = "file"


class TestCommand(PlatformContract):
    """Any program."""

    name = "command"
    target = ("my-identity", "--for", "{audience}")

    def test_what_is_run(self) -> None:
        """The audience stands where the profile has it."""
        _, taken = self.prove(self.token())
        assert taken[0].words == ("my-identity", "--for", AUDIENCE)
        assert find_job(self.source, {}).id is None


def test_every_platform_has_its_contract() -> None:
    """A new one is listed here, or this fails."""
    names = {cls.name for cls in PlatformContract.__subclasses__()}
    assert names == set(PLATFORMS)


def test_two_platforms_at_once_are_refused() -> None:
    """Security: whoever can set a variable could choose which of them is asked."""
    auto = Reference(kind="auto", target=())
    both = ENVIRONS["github"] | ENVIRONS["gitlab"]
    with pytest.raises(UsageError, match=r"GitHub Actions \(github\) and GitLab CI \(gitlab\)"):
        find_job(auto, both)
    assert find_job(Reference(kind="gitlab", target=("X",)), both).platform == "gitlab"
    with pytest.raises(BrokerError, match="no CI platform"):
        find_job(auto, {"CI": "true", "GITHUB_ACTIONS": "false"})
