"""What the files of tests/vectors/kept hold, and the keys that open them.

The files were written once, by the program of the version that their folder is named by. There is
no script that makes them: they may never be made again, changed or removed (test_kept_vectors).
A later format gets a folder of its own beside these.
"""

from __future__ import annotations

import os
from typing import Any

from brokerctl.keys.pin import Pin
from brokerctl.keys.ring import FIRST_VERSION, VERSION, KeyRing
from brokerctl.model import GrantKey, Token, TokenKey
from brokerctl.oauth.metadata import Metadata
from brokerctl.secret import Secret
from brokerctl.session.leftovers import Session
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    JOB,
    KEPT,
    LEASE,
    METADATA,
    OUTCOME,
    PLAN,
    QUESTION,
    QUEUE,
    SECRET,
    SESSION,
    TOKEN,
)
from brokerctl.store.values import (
    ApprovalQuestion,
    Failure,
    Grant,
    Intent,
    Lease,
    LimitCount,
    Moment,
    Queue,
    Queued,
    Slot,
    ToolCredential,
)

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kept")
WRAPPING_KEY = bytes(range(100, 132))
WRAP_ID = "00112233445566778899aabbccddeeff"
PASSPHRASE = Secret("correct horse battery staple")
RING = KeyRing(
    {"seal": 2, "name": 1, "log": 2, "fingerprint": 1},
    {
        "seal": {1: bytes(range(32)), 2: bytes(range(1, 33))},
        "name": {1: bytes(range(2, 34))},
        "log": {1: bytes(range(3, 35)), 2: bytes(range(4, 36))},
        "fingerprint": {1: bytes(range(5, 37))},
    },
    FIRST_VERSION,
)
KEY = GrantKey(
    issuer="https://issuer.example/tenant/",
    client_id="app é",
    subject="alice@example.com",
    scopes=("offline_access", "read"),
    resource=("https://api.example/",),
    extra='{"access_type":"offline"}',
)
TOKEN_KEY = TokenKey(
    grant=KEY, actor="1f" * 16, scopes=("read",), resource=KEY.resource, extra=KEY.extra
)
NOW = 1_767_603_600.25


def token(value: str, **changes: Any) -> Token:  # noqa: ANN401 - fields of Token
    """Return a token of the kept slot."""
    fields: dict[str, Any] = {
        "value": Secret(value),
        "fingerprint": RING.fingerprint(value),
        "token_type": "Bearer",
        "scopes": ("read",),
        "issued_at": NOW,
        "expires_at": NOW + 3600,
        "generation": 7,
    }
    return Token(**fields | changes)


SLOT = Slot(
    key=TOKEN_KEY,
    profile="work",
    current=token("access-7", session="1f" * 16, is_assumed=True),
    superseded=(token("access-6", generation=6, status="superseded", expires_at=None),),
)
VALUES: dict[int, Any] = {
    GRANT: Grant(
        key=KEY,
        profile="work",
        flow="code",
        generation=7,
        obtained_at=NOW,
        refresh_token=Secret("refresh-7"),
        scopes=("offline_access", "read"),
        sub="248289761001",
        owner="team@example.com",
        dead_why="invalid_grant",
        issued=SLOT,
    ),
    TOKEN: SLOT,
    INTENT: Intent(
        kind="refresh",
        generation=7,
        at=NOW,
        fingerprint=RING.fingerprint("refresh-7"),
        pid=4242,
        host="laptop",
    ),
    PLAN: b'{"v":1,"profiles":[],"narrowed_scopes":{}}',
    SECRET: "a client's secret, é".encode(),
    METADATA: Metadata(
        issuer=KEY.issuer,
        fetched_at=NOW,
        token_endpoint="https://issuer.example/token",
        scopes_supported=("read", "offline_access"),
        iss_in_callback=True,
    ),
    OUTCOME: Failure(
        attempt=2,
        serial=9,
        at=NOW,
        retry_at=NOW + 10,
        exit_code=5,
        name="issuer",
        message="the token endpoint of issuer.example answered 503",
        hint="run 'brokerctl doctor'",
    ),
    SESSION: Session(
        id="1f" * 16,
        pid=4242,
        started="987654",
        boot="a-boot",
        pid_space="pid:[4026531836]",
        host="laptop",
        at=NOW,
        ends_at=NOW + 3600,
        profiles=("work",),
        folder="/run/user/1000/brokerctl/1f",
    ),
    QUEUE: Queue(
        key=KEY,
        profile="work",
        items=(
            Queued(
                value=Secret("access-6"),
                fingerprint=RING.fingerprint("access-6"),
                token_type_hint="access_token",
                since=NOW,
                expires_at=NOW + 60,
                attempts=3,
                reason="issuer.example answered 503",
            ),
        ),
    ),
    KEPT: ToolCredential(
        tool="git",
        protocol="https",
        host="git.example.com",
        port=8443,
        path="/team/shop%20%C3%A9.git",
        username="alice é",
        secret=Secret("hunter2, é"),
        kept_at=NOW,
        expires_at=NOW + 60,
        refresh_token=Secret("refresh-of-another"),
        ends_at=NOW + 30,
    ),
}
# What format 2 added, filled as far as anything can fill it.
NEW_KEY = KEY.replace(source="profile base")
NEW_TOKEN = token(
    "access-8",
    is_assumed=True,
    size=8,
    issued_type="urn:ietf:params:oauth:token-type:jwt",
    act='{"sub":"app"}',
    details='[{"type":"account"}]',
    claims='{"acr":"1"}',
    unknown=Secret('{"later":{"a":[1,2.5,null]}}'),
)
NEW_SLOT = SLOT.replace(key=TOKEN_KEY.replace(grant=NEW_KEY), current=NEW_TOKEN)
_RATE = LimitCount(
    rule="few",
    layer="user",
    used=3,
    most=10,
    per_s=60,
    recent=(Moment(at=NOW, count=2), Moment(at=NOW + 1, count=1)),
)
NEW_VALUES: dict[int, Any] = VALUES | {
    GRANT: VALUES[GRANT].replace(
        key=NEW_KEY,
        issued=NEW_SLOT,
        ends_at=NOW + 86400,
        authenticated_at=NOW - 5,
        acr="urn:mfa",
        id_token=Secret("a.b.c"),
        dpop_key=Secret('{"kty":"EC"}'),
        registration=Secret('{"client_id":"app"}'),
        unknown=Secret('{"later":"a secret of a later version"}'),
    ),
    TOKEN: NEW_SLOT,
    INTENT: VALUES[INTENT].replace(key=NEW_KEY, profile="work"),
    METADATA: VALUES[METADATA].replace(unknown=Secret('{"later":["x"]}')),
    JOB: b"{}",
    SESSION: VALUES[SESSION].replace(unknown=Secret('{"later":1}')),
    LEASE: Lease(
        id="3f9a01bc",
        profile="work",
        question="5e0c77d1",
        about='{"profile":"work"}',
        given_at=NOW,
        ends_at=NOW + 900,
        counts=(_RATE, LimitCount(rule="", layer="", uses=3, used=3)),
        session="1f" * 16,
        unknown=Secret('{"later":1}'),
    ),
    QUESTION: ApprovalQuestion(
        id="5e0c77d1",
        profile="work",
        about='{"profile":"work"}',
        asked_at=NOW,
        ends_at=NOW + 60,
        by="elsewhere",
        answer="yes",
        lease="3f9a01bc",
        lease_name="6" * 64,
        session_lease_name="7" * 64,
        counts=(_RATE.replace(used=0, recent=()),),
        unknown=Secret('{"later":1}'),
    ),
    QUEUE: VALUES[QUEUE].replace(
        key=NEW_KEY, items=(VALUES[QUEUE].items[0].replace(size=8), VALUES[QUEUE].items[0])
    ),
}
NEW_RING = RING.changed(version=VERSION)
# The names that these entries had, computed once: another hash would lose every grant.
GRANT_NAME = "db416c022b990ee7466c752b4342f9c08611ae1cbb41d6eabd618258ec110e6d"
TOKEN_NAME = "e858ceb25c849e810dc6539c221733c755d392c2bdcf633ad3efcc168dc43300"
SECRET_NAME = "21b1a9be7e017b26502a4050ba6219a7d1b7daa5a7b0d2e854b976805ba59663"
NAMES = dict.fromkeys(VALUES, GRANT_NAME) | {
    TOKEN: f"{GRANT_NAME}/{TOKEN_NAME}",
    SECRET: SECRET_NAME,
}
NEW_GRANT_NAME = "79127a36652aac43297c3b515c4841010f59a7722bdcd99b14b9fd217f05b53a"
NEW_TOKEN_NAME = "5cfb6015446a99e0e5c4fc71b434fba85d66553f15725497baa3da8a44c36f25"
NEW_NAMES = dict.fromkeys(NEW_VALUES, NEW_GRANT_NAME) | {
    TOKEN: f"{NEW_GRANT_NAME}/{NEW_TOKEN_NAME}",
    SECRET: SECRET_NAME,
}
PIN = Pin(
    keeper="passphrase",
    wrap_id=WRAP_ID,
    details='{"kdf":"argon2id","memory":67108864,"ops":2,"salt":"000102030405060708090a0b0c0d0e0f"}',
)
RECORDS = ("grant.stored", "token.handed_out", "token.denied")
