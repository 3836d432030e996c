"""One of several processes that work on the same subjects: what test_subject_mix.py runs.

Each token of this issuer says whose it is, so that a token in the wrong hands is seen at once.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from typing import Any

from brokerctl.broker import Broker
from brokerctl.broker.grant_status import of_profiles, of_subjects
from brokerctl.broker.held_grants import keys_of
from brokerctl.broker.issuer import IssuerClient, Senders
from brokerctl.broker.known_issuers import KnownIssuers
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.config.plan import Plan
from brokerctl.errors import LockTimeoutError, LoginNeededError
from brokerctl.keys.ring import parse_ring
from brokerctl.model import Requester, Token, TokenKey, TokenRequest
from brokerctl.oauth.message import HttpRequest, HttpResponse
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.file import FileStore
from brokerctl.store.values import Change, Grant, Intent
from tests.flows import form_of
from tests.issuer_room import URL, Issuer, Log
from tests.subjects import PROFILE, Unsynced

PERSON = PROFILE.replace(issuer=URL, endpoints=())
CLIENT = PERSON.replace(name="client", flow="client_credentials", audience=("a", "b"))
PROFILES = {one.name: one for one in (PERSON, CLIENT)}
WAIT_S = 600.0  # a busy machine is no finding


def owner(value: str) -> str:
    """Return whose token a value is: its last word."""
    return value.rpartition(" ")[2]


class Stateless:
    """An issuer that honours every refresh token, once for each answer, and knows whose it is."""

    def __init__(self) -> None:
        self.asking = ""  # whose request of a client's own is being made

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer one request."""
        del deadline
        if request.method == "GET":
            return Issuer().send(request)
        form = {name: values[0] for name, values in form_of(request).items()}
        if not request.url.endswith("/token"):
            body: dict[str, Any] = {"active": False}
            return HttpResponse(status=200, body=json.dumps(body).encode(), sent_at=time.time())
        sent = form.get("refresh_token")
        whose = owner(sent) if sent is not None else self.asking
        body = {
            "access_token": f"access-{os.urandom(8).hex()}.{whose}",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        if sent is not None:
            body["refresh_token"] = f"refresh {os.urandom(8).hex()} {whose}"
        return HttpResponse(status=200, body=json.dumps(body).encode(), sent_at=time.time())


class Mixer:
    """One process at work; everything that it sees must be of the subject that it asked for."""

    def __init__(self, path: str, ring: bytes, seed: int, subjects: list[str]) -> None:
        folder = open_folder(path)
        assert folder is not None
        folder.system = Unsynced()
        self.ring = parse_ring(ring)
        self.store = FileStore(folder, self.ring)
        self.issuer = Stateless()
        make: Any = lambda *_: self.issuer  # noqa: E731 - a sender's maker
        link = IssuerClient(KnownIssuers(self.store, self.ring), Senders(make, {}))
        log: Any = Log()
        self.log = log
        redeemer = Redeemer(self.store, log, self.ring, link)
        self.revoker = Revoker(self.store, log, self.ring, link)
        self.broker = Broker(Plan(profiles=PROFILES), self.store, log, redeemer)
        self.random = random.Random(seed)
        self.subjects = subjects
        self.session = f"{seed:032x}"

    def run(self, count: int) -> dict[str, int]:
        """Do so many operations of random kinds; return how many of each were done."""
        done: dict[str, int] = {}
        doing = (self.get, self.get, self.get, self.own, self.log_in, self.revoke, self.look)
        for _ in range(count):
            act = self.random.choice(doing)
            try:
                act(self.random.choice(self.subjects))
            except (LoginNeededError, LockTimeoutError):
                pass  # another process has revoked it, or keeps it for long
            done[act.__name__] = done.get(act.__name__, 0) + 1
        return done

    def request(self, name: str, subject: str, **fields: Any) -> TokenRequest:  # noqa: ANN401 - of TokenRequest
        """Make a request of this process for a subject."""
        requester = Requester(uid=os.geteuid(), pid=os.getpid(), session=self.session)
        return TokenRequest(profile=name, requester=requester, subject=subject, **fields)

    def get(self, subject: str) -> None:
        """Get a token, from the store or anew."""
        name = self.random.choice(sorted(PROFILES))
        audience = self.random.choice([None, ("a",)]) if name == "client" else None
        self.issuer.asking = subject
        fresh = self.random.random() < 0.3
        request = self.request(name, subject, is_fresh=fresh, audience=audience)
        answer = self.broker.get(request)
        self.expect(subject, answer.value.reveal(), answer.subject)

    def own(self, subject: str) -> None:
        """Get a token of a session's own, and end it."""
        name = self.random.choice(sorted(PROFILES))
        self.issuer.asking = subject
        answer = self.broker.get(self.request(name, subject, is_own=True))
        self.expect(subject, answer.value.reveal(), answer.subject)
        key = grant_key(PROFILES[name], subject)
        for ending in self.revoker.revoke_session(PROFILES[name], key, self.session):
            assert ending.subject == subject, (ending, subject)

    def log_in(self, subject: str) -> None:
        """Store a grant as a login does: intent, then grant and token."""
        key, now, value = grant_key(PERSON, subject), time.time(), os.urandom(8).hex()
        token = Token(
            value=Secret(f"access-{value}.{subject}"),
            fingerprint=self.ring.fingerprint(f"access-{value}.{subject}"),
            token_type="Bearer",
            scopes=PERSON.scopes,
            issued_at=now,
            expires_at=now + 3600,
        )
        with self.store.lock_grant(key, work_time() + WAIT_S) as locked:
            generation = locked.next_generation
            locked.intend(
                Intent(key=key, profile="work", kind="login", generation=generation, at=now)
            )
            grant = Grant(
                key=key,
                profile="work",
                flow="device",
                generation=0,
                obtained_at=now,
                refresh_token=Secret(f"refresh {value} {subject}"),
                sub=subject,
            )
            slot = TokenKey(grant=key, scopes=PERSON.scopes)
            locked.commit(Change(grant=grant, token_key=slot, token=token, profile="work"))

    def revoke(self, subject: str) -> None:
        """End all that a subject has, as `revoke work --subject` finds it."""
        for profile, key in keys_of(self.store, PROFILES, None, subject):
            assert key.subject == subject, (key, subject)
            for ending in self.revoker.revoke(profile, key):
                assert ending.subject == subject, (ending, subject)

    def look(self, subject: str) -> None:
        """Read what one subject has, and sometimes what all have."""
        now = time.time()

        def key_of(profile: Any, name: str | None) -> Any:  # noqa: ANN401 - a Profile, a GrantKey
            return grant_key(profile, name)

        rows = list(of_profiles(self.store, PROFILES, key_of, now, subject))
        if self.random.random() < 0.05:
            rows += [one for one in of_subjects(self.store, PROFILES, key_of, now) if one]
        for row in rows:
            whose = row.key.subject or ""
            for slot in row.slots:
                assert slot.key.grant.subject == whose, (slot, whose)
                for token in (slot.current, *slot.superseded):
                    if token is not None and token.value:
                        assert token.value.reveal().rpartition(".")[2] == whose, whose
            if row.grant is not None and row.grant.refresh_token is not None:
                assert owner(row.grant.refresh_token.reveal()) == whose, whose

    def expect(self, subject: str, value: str, said: str | None) -> None:
        """Hold a token against whom it was asked for."""
        assert value.rpartition(".")[2] == subject, (value, subject)
        assert said == subject, (said, subject)


def main(path: str, ring: str, seed: str, count: str, subjects: str) -> None:
    """Wait for the start, work, and print what was done and which fingerprint was whose."""
    names = [f"tenant-{number}" for number in range(int(subjects))]
    mixer = Mixer(path, bytes.fromhex(ring), int(seed), names)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    done = mixer.run(int(count))
    whose = sorted(
        {
            (fields["fingerprint"], fields["subject"])
            for name, fields in mixer.log.records
            if name == "token.handed_out"
        }
    )
    sys.stdout.write(json.dumps({"done": done, "whose": whose}))


if __name__ == "__main__":
    main(*sys.argv[1:])
