"""What the second format added, where it is filled: sizes, whose intent, whose token is exchanged.

And the same rule for what is no entry of a grant: a session, a plan, an archive's header.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite
from brokerctl.broker.held_grants import keys_of
from brokerctl.broker.request import grant_key
from brokerctl.config.plan import Plan, parse_plan, render_plan
from brokerctl.config.words.exchange import usual_type
from brokerctl.errors import DamagedError
from brokerctl.model import Exchange, Reference
from brokerctl.oauth import metadata
from brokerctl.oauth.metadata import Metadata
from brokerctl.secret import Secret
from brokerctl.session import leftovers
from brokerctl.store import backup, codec
from brokerctl.store.entry import GRANT, INTENT, QUEUE, TOKEN, FirstFormat
from brokerctl.store.values import Intent, Queue, Queued
from tests.issuer_room import KEY, PERSON, SERVICE, House
from tests.store_room import RING, make_token, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.message import HttpResponse


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Make a house in which nothing is held yet."""
    return House(str(tmp_path / "store"))


def sizes(house: House) -> dict[str, int]:
    """Return the size of each token that there ever was, by its fingerprint."""
    values = {one for _, one in house.issuer.sent} | house.issuer.alive
    return {RING.fingerprint(one): len(one) for one in values}


def test_every_record_that_names_a_token_says_its_size(house: House) -> None:
    """Of what is handed out, refreshed, ended, superseded and revoked, a refresh token too."""
    house.log_in()
    house.issuer.expires_in = 600
    for _ in range(3):
        house.get(is_fresh=True)
    house.get("s")
    house.broker.not_delivered(house.get())
    house.own("ab" * 16)
    house.log_in()
    house.revoker.revoke(PERSON, KEY)
    house.revoker.revoke(SERVICE, grant_key(SERVICE))
    known, events = sizes(house), set()
    for event, fields in house.log.records:
        if fields.get("fingerprint") is not None:
            events.add(event)
            assert fields["size"] == known[fields["fingerprint"]], event
        else:
            assert fields.get("size") is None
    assert events >= {
        *("token.handed_out", "token.not_delivered", "token.issued", "token.revoked"),
        *("grant.obtained", "grant.refreshed", "grant.revoked"),
    }


def test_a_size_outlives_its_value(house: House) -> None:
    """Also of a token that an earlier version stored, which had none."""
    house.log_in()
    with house.store.lock_grant(KEY, soon()) as locked:
        (slot,) = locked.state.slots
        assert slot.current is not None
        size, fingerprint = slot.current.size, slot.current.fingerprint
        locked.settle(fingerprint, "revoked")
        ended = locked.state.slots[0].current
    assert ended is not None
    assert (size, ended.size, bool(ended.value)) == (len("a1-g1"), size, False)
    old = make_token("t1").replace(size=None)
    assert (old.known_size, old.replace(value=Secret("é")).known_size) == (2, 2)
    assert old.replace(value=Secret("")).known_size is None


def test_a_killed_login_says_whose_it_was(house: House) -> None:
    """`revoke --all` finds it under a subject that no profile names, and nothing that is not."""
    other = grant_key(PERSON, "bob@example.com")
    with house.store.lock_grant(other, soon()) as locked:
        intent = Intent(kind="login", generation=1, at=time.time(), key=other, profile="p")
        locked.intend(intent)
    assert keys_of(house.store, house.profiles, None, None) == [(PERSON, other)]
    assert keys_of(house.store, house.profiles, {"p"}, "bob@example.com") == [(PERSON, other)]
    assert keys_of(house.store, house.profiles, {"s"}, None) == []
    (ending,) = house.revoker.revoke(PERSON, other)
    assert ending.reason.startswith("a login that got no answer")
    assert list(house.store.entries(INTENT)) == []


def test_every_intent_says_whose_it_is(house: House) -> None:
    """That of a login, of a refresh and of a client's own request."""
    seen: list[tuple[str, object, str]] = []
    send, do = house.issuer.send, house.do

    def see() -> None:
        intents = [entry.value for entry in house.store.entries(INTENT)]
        seen.extend((one.kind, one.key, one.profile) for one in intents)

    def see_and_do(step: object) -> HttpResponse:
        see()
        return do(step)

    def see_and_send(*words: Any) -> HttpResponse:  # noqa: ANN401 - as the issuer's
        see()
        return send(*words)

    house.do = see_and_do  # type: ignore[method-assign]  # to look before it is done
    house.log_in()
    house.issuer.send = see_and_send  # type: ignore[method-assign, assignment]  # as above
    house.get(is_fresh=True)
    house.get("s")
    assert seen == [
        ("login", KEY, "p"),
        ("refresh", KEY, "p"),
        ("issue", grant_key(SERVICE), "s"),
    ]


def test_whose_token_is_exchanged_is_a_member_of_its_own() -> None:
    """It was among the details, which are RFC 9396's."""
    profile = SERVICE.replace(flow="aws_web_identity", exchange=of("profile", "base"))
    key = grant_key(profile)
    assert (key.source, key.details) == ("profile base", None)
    other = profile.replace(exchange=of("file", "base"))
    whole = SERVICE.replace(flow="token_exchange", exchange=of("profile", "base"))
    typed = whole.replace(exchange=of("profile", "base").replace(requested_type="urn:x:y"))
    keys = {grant_key(one) for one in (SERVICE, profile, other, whole, typed)}
    assert len(keys) == 5


def test_an_identity_is_also_what_the_profile_says_of_it() -> None:
    """Two files of one subject, or two audiences, are two grants."""
    asked = SERVICE.replace(flow="token_exchange", exchange=of("identity"))
    files = [Reference(kind="file", target=(f"/run/{name}",)) for name in "ab"]
    others = [asked, *(asked.replace(identity=one) for one in files)]
    others.append(asked.replace(identity=files[0], identity_audience="urn:x"))
    assert len({grant_key(one) for one in others}) == 4


def of(kind: str, *target: str) -> Exchange:
    """Return an exchange of a source's token."""
    source = Reference(kind=kind, target=target)
    return Exchange(subject=source, subject_type=usual_type(source))


def test_what_a_later_version_wrote_goes_through_every_change(house: House) -> None:
    """A refresh, a login's supersession, a queue that grows and shrinks: nothing of it is lost."""
    house.log_in()
    later = Secret('{"later":[1]}')
    with house.store.lock_grant(KEY, soon()) as locked:
        grant, slot = locked.state.grant, locked.state.slots[0]
        assert grant is not None
        assert slot.current is not None
        name = next(entry.name for entry in house.store.entries(TOKEN))
        marked = slot.replace(unknown=later, current=slot.current.replace(unknown=later))
        house.store.disk.write(TOKEN, name, codec.render(marked))
        house.store.disk.write(
            GRANT, name.partition("/")[0], codec.render(grant.replace(unknown=later))
        )
        one, two = (RING.fingerprint(text) for text in "ab")
        house.store.disk.write(QUEUE, name.partition("/")[0], _queue(grant.key, later))
    house.get(is_fresh=True)
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.dequeue(one)
        state = locked.state
        assert state.grant is not None
        assert state.grant.unknown == later
        assert state.slots[0].unknown == later
        assert [one.unknown for one in state.slots[0].superseded] == [later]
    (entry,) = house.store.entries(QUEUE)
    assert (entry.value.unknown, entry.value.items[0].unknown) == (later, later)
    assert [item.fingerprint for item in entry.value.items] == [two]


def _queue(key: Any, later: Secret) -> bytes:  # noqa: ANN401 - a GrantKey
    items = tuple(
        Queued(
            value=Secret(text),
            fingerprint=RING.fingerprint(text),
            token_type_hint="access_token",
            since=1,
            expires_at=None,
            unknown=later,
        )
        for text in "ab"
    )
    return codec.render(Queue(key=key, profile="p", items=items, unknown=later))


def test_a_session_of_a_later_version_is_ended_too() -> None:
    """What it has beside comes back as it was; its own version is another matter."""
    session = leftovers.describe("ab" * 16, ("a",), None)
    body = jsonlite.loads(leftovers.render_session(session)) | {"later": {"a": [None, 1.5]}}
    found = leftovers.parse_session(jsonlite.dumps(body).encode())
    assert found is not None
    assert found.replace(unknown=None) == session
    again = jsonlite.loads(leftovers.render_session(found.replace(ends_at=7.0)))
    assert again == body | {"ends_at": 7.0}
    assert "later" not in repr(found)


def test_what_pins_endpoints_is_not_lost_to_a_later_member() -> None:
    """Else a moved endpoint would be taken for one that was never seen. Nor to a missing one."""
    known = Metadata(issuer="https://i.example", token_endpoint="https://i.example/token")
    body = jsonlite.loads(metadata.render(known)) | {"later": ["x"], "unknown": 1}
    found = metadata.parse(jsonlite.dumps(body).encode())
    assert found is not None
    assert found.replace(unknown=None) == known
    assert jsonlite.loads(metadata.render(found)) == body
    del body["userinfo_endpoint"], body["later"], body["unknown"]
    assert metadata.parse(jsonlite.dumps(body).encode()) == known
    assert metadata.parse(jsonlite.dumps(body | {"v": 2}).encode()) is None
    assert metadata.parse(b'{"v":1}') is None


def test_a_plan_of_a_later_version_is_read() -> None:
    """It is a copy, made anew with any edit: what is not known of it is passed over."""
    plan = Plan(profiles={"p": PERSON}, keep=("git",))
    body = jsonlite.loads(render_plan(plan))
    body["later"] = 1
    body["profiles"][0]["later"] = {"a": 1}
    assert parse_plan(jsonlite.dumps(body).encode()) == plan
    assert parse_plan(jsonlite.dumps(body | {"v": 2}).encode()) is None


def test_an_archive_s_header_may_say_more(house: House) -> None:
    """Of version 2; the first version's never did."""
    house.log_in()
    kdf = {"kdf": "of the tests"}
    data, _ = backup.backup(house.store, bytes(32), kdf)
    line, _, rest = data.partition(b"\n")
    later = {**jsonlite.loads(line), "later": 1}
    with pytest.raises(DamagedError, match="does not open"):  # the header is sealed with it
        backup.restore(
            house.store, jsonlite.dumps(later).encode() + b"\n" + rest, lambda _: bytes(32)
        )
    first = {**later, "version": 1}
    with pytest.raises(DamagedError, match="header is not what it should be"):
        backup.restore(
            house.store, jsonlite.dumps(first).encode() + b"\n" + rest, lambda _: bytes(32)
        )


def test_an_entry_of_the_first_format_has_no_later_member() -> None:
    """Nobody has ever written one, so that it is damage; as it was before this version."""
    grant = codec.render(codec.parse(INTENT, b'{"kind":"refresh","generation":1,"at":1}'))
    assert codec.parse(INTENT, FirstFormat(grant)).kind == "refresh"
    with pytest.raises(DamagedError):
        codec.parse(INTENT, FirstFormat(grant[:-1] + b',"later":1}'))


def test_metadata_of_an_earlier_version_pins_as_before() -> None:
    """It has no list of grant types: what is missing is not said, and loses no endpoint."""
    body = jsonlite.loads(metadata.render(metadata.Metadata(issuer="https://i.example")))
    del body["grant_types_supported"]
    found = metadata.parse(jsonlite.dumps(body).encode())
    assert found == metadata.Metadata(issuer="https://i.example")
