"""What everyone who signs a job's identity promises; test_platform_contract.py has them all."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from brokerctl.config.platforms import PLATFORMS
from brokerctl.errors import IssuerError, UsageError
from brokerctl.identity import find_job, load
from brokerctl.identity.proof import prove, read_jwt
from brokerctl.model import Reference
from brokerctl.oauth.steps import Send, Svid
from brokerctl.secret import Secret
from tests.identities import AUDIENCE, ENVIRONS, REQUEST_TOKEN, answer_for, jwt, play

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.steps import Proof

NOT_NEW_S = 301


def _sub_of(token: str) -> str:
    _, claims = read_jwt(Secret(token))
    return str((claims or {}).get("sub"))


class PlatformContract:
    """Inherited once a platform; `answer` gives a token as the platform gives it."""

    name: ClassVar[str]
    target: ClassVar[tuple[str, ...]] = ()
    variable: ClassVar[str] = ""  # that holds the token, if one does
    member: ClassVar[str] = "value"  # of a JSON answer
    audience: ClassVar[str] = AUDIENCE

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.file = tmp_path / "token"
        self.environ: dict[str, str] = {"PATH": "/nowhere", **ENVIRONS.get(self.name, {})}

    @property
    def source(self) -> Reference:
        """Return how a profile names it."""
        needs = PLATFORMS[self.name].needs
        target = (str(self.file),) if needs.startswith("file") and not self.target else self.target
        return Reference(kind=self.name, target=target)

    def prove(self, token: str | None, **answers: Any) -> tuple[Proof, list[Any]]:  # noqa: ANN401 - of `play`
        """Have a job prove who it is, with the platform's token in each place it can come from."""
        if token is not None:
            self.file.write_text(token)
            if self.variable:
                self.environ[self.variable] = token
            answers = {
                "response": answer_for(token, self.member),
                "printed": token.encode() + b"\n",
                "read": token.encode(),
                "svid": Svid(token=Secret(token), id=_sub_of(token)),
            } | answers
        steps = prove(self.source, self.environ, self.audience, time.time())
        proof, taken = play(steps, **answers)
        return proof, taken

    def token(self, **claims: Any) -> str:  # noqa: ANN401 - claims are JSON
        """Return a token of this platform."""
        return jwt(**{"aud": self.audience} | claims)

    def test_it_proves_who_the_job_is(self) -> None:
        """The token comes back as it was, and of its claims what a reader can use."""
        token = self.token(sub="the-job")
        proof, _ = self.prove(token)
        assert proof.token.reveal() == token
        said = json.loads(proof.claims)
        assert (said["platform"], said["sub"]) == (self.name, "the-job")
        assert token not in repr(proof)

    def test_its_answer_is_looked_at(self) -> None:
        """Whatever can't be exchanged is an error before anything is."""
        now = int(time.time())
        parts = self.token().split(".")
        for token in (
            self.token(aud="https://other.example"),
            self.token(aud=["https://other.example"]),
            self.token(aud=None),
            self.token(exp=now - 1),
            self.token(exp=None),
            self.token(exp=True),
            self.token(iat=now + 600),
            jwt({"alg": "none"}, aud=self.audience),
            jwt({"alg": "nOnE"}, aud=self.audience),
            jwt({}, aud=self.audience),
            jwt(signature="", aud=self.audience),
            ".".join(parts[:2]),
            f"{self.token()} {self.token()}",
            "<html>",
            "",
            "x" * 1_000_000,
        ):
            with pytest.raises((IssuerError, UsageError)) as caught:
                self.prove(token)
            assert caught.value.exit_code in {2, 5}
            assert len(token) < 20 or token not in caught.value.message

    def test_a_token_that_was_made_for_us_is_new(self) -> None:
        """One that is older than five minutes was not; one that lies there may be as old."""
        token = self.token(iat=int(time.time()) - NOT_NEW_S)
        if PLATFORMS[self.name].is_asked:
            with pytest.raises(IssuerError, match="older than five minutes"):
                self.prove(token)
        else:
            assert self.prove(token)[0].token.reveal() == token

    def test_what_is_missing_is_named(self) -> None:
        """A job without the permission learns which one: exit 2, and nothing is sent."""
        if not self.variable and self.name not in {"github", "azure_pipelines"}:
            return  # its program or file says so itself
        secrets = {self.variable, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SYSTEM_ACCESSTOKEN"}
        self.environ = {name: value for name, value in self.environ.items() if name not in secrets}
        with pytest.raises(UsageError, match="is not set") as caught:
            self.prove(None)
        assert "it needs" in (caught.value.hint or "")

    def test_a_job_is_told_by_all_of_its_variables(self) -> None:
        """Each of them is part of it; without one the job is not known."""
        variables = PLATFORMS[self.name].job
        self.file.write_text(self.token(sub="a", **{"kubernetes.io": {"pod": {"uid": "u-1"}}}))
        if not variables:
            return
        known = find_job(self.source, self.environ).id
        assert known is not None
        for name in variables:
            other = find_job(self.source, self.environ | {name: "other"}).id
            assert other not in {None, known}
            shown_by = PLATFORMS[self.name].shown_by
            if name != shown_by:
                assert find_job(self.source, self.environ | {name: ""}).id is None

    def test_it_is_not_here_where_its_variable_is_not(self) -> None:
        """A profile that names it says so: exit 2."""
        shown_by = PLATFORMS[self.name].shown_by
        if shown_by is None:
            return
        with pytest.raises(UsageError, match=f"{shown_by} is not set"):
            find_job(self.source, {})

    def test_it_asks_by_one_step_at_most(self) -> None:
        """And shows no secret in it."""
        _, taken = self.prove(self.token())
        assert len(taken) <= 1
        assert REQUEST_TOKEN not in repr(taken)

    def test_what_it_says_no_with(self) -> None:
        """A platform that is asked over HTTP: each kind of no has its exit code."""
        _, taken = self.prove(self.token())
        if not taken or not isinstance(taken[0], Send):
            return
        for status, kind in ((401, UsageError), (403, UsageError), (302, IssuerError)):
            with pytest.raises(kind):
                self.prove(None, response=answer_for(self.token(), self.member, status))
        for body in (b"<html>", b'{"value": "a", "value": "b"}', b"[]", b'{"value": 1}'):
            response = answer_for("", self.member).replace(body=body)
            with pytest.raises(IssuerError):
                self.prove(None, response=response)
        with pytest.raises(IssuerError, match="did not say"):
            self.prove(None, response=IssuerError("it did not answer in time"))

    def test_no_fork_is_seen_where_there_is_none(self) -> None:
        """In a plain job."""
        assert load(self.name).find_fork(self.environ) is None
