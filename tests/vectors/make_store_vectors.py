"""Writes tests/vectors/store/BKR1 and BKR2: sealed entries with one fault each, or none.

Run `python -m tests.vectors.make_store_vectors` after a change of the format; a test compares what
is committed with what this script makes. (What must open for ever lies in tests/vectors/kept, which
no script makes.) Each file has a header (`expect`, `kind`, `name`,
`comment`), an empty line, and the entry's bytes. The ring has keys 1 and 2, of which 2 is current.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from brokerctl import sodium
from brokerctl.store.entry import FIRST, HEADER_BYTES, KIND_NAMES, MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable

    Seal = Callable[..., bytes]

KEYS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
CURRENT = 2
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "store")
FORMATS = (FIRST, MAGIC)
GRANT, TOKEN, INTENT, OUTCOME, QUEUE, KEPT = 1, 2, 3, 7, 9, 10
LEASE, QUESTION = 12, 13
G, T = "6" * 64, "7" * 64
KEY = b'{"issuer":"https://i.example","client_id":"c","scopes":["a"]}'
TIMES = b'"issued_at":1,"expires_at":2'
TOKEN_JSON = b'{"value":"v","fingerprint":"f","token_type":"Bearer","scopes":[],%b}' % TIMES
PAYLOADS = {
    GRANT: b'{"key":%b,"profile":"p","flow":"code","generation":1,'
    b'"obtained_at":1.5,"refresh_token":"r"}' % KEY,
    TOKEN: b'{"key":{"grant":%b},"profile":"p","current":%b,"superseded":[%b]}'
    % (KEY, TOKEN_JSON, TOKEN_JSON),
    INTENT: b'{"kind":"refresh","generation":1,"at":1}',
    OUTCOME: b'{"attempt":1,"serial":1,"at":1,"retry_at":6,'
    b'"exit_code":5,"name":"issuer","message":"m"}',
    QUEUE: b'{"key":%b,"profile":"p","items":[{"value":"v","fingerprint":"f",'
    b'"token_type_hint":"access_token","since":1,"expires_at":null}]}' % KEY,
    KEPT: b'{"tool":"git","protocol":"https","host":"a.example","port":443,"path":"",'
    b'"username":"u","secret":"s","kept_at":1}',
    LEASE: b'{"id":"1","profile":"p","question":"2","about":"{}","given_at":1,"ends_at":2,'
    b'"counts":[{"rule":"r","layer":"user","most":3,"per_s":60,"recent":[{"at":1,"count":2}]}]}',
    QUESTION: b'{"id":"2","profile":"p","about":"{}","asked_at":1,"ends_at":2,"by":"terminal",'
    b'"counts":[{"rule":"r","layer":"user","uses":3,"used":1}]}',
}
PAYLOAD_FAULTS = {
    "empty": b"",
    "not-json": b"refresh",
    "two-texts": PAYLOADS[GRANT] * 2,
    "not-an-object": b"[1]",
    "null": b"null",
    "duplicate-key": PAYLOADS[GRANT][:-1] + b',"generation":2}',
    "unknown-field": PAYLOADS[GRANT][:-1] + b',"since":2}',
    "missing-field": PAYLOADS[GRANT].replace(b'"flow":"code",', b""),
    "nan": PAYLOADS[GRANT].replace(b"1.5", b"NaN"),
    "infinite": PAYLOADS[GRANT].replace(b"1.5", b"1e999"),
    "long-number": PAYLOADS[GRANT].replace(b'"generation":1', b'"generation":' + b"1" * 40),
    "generation-negative": PAYLOADS[GRANT].replace(b'"generation":1', b'"generation":-1'),
    "generation-real": PAYLOADS[GRANT].replace(b'"generation":1', b'"generation":1.0'),
    "generation-bool": PAYLOADS[GRANT].replace(b'"generation":1', b'"generation":true'),
    "time-text": PAYLOADS[GRANT].replace(b"1.5", b'"1.5"'),
    "time-bool": PAYLOADS[GRANT].replace(b"1.5", b"true"),
    "secret-number": PAYLOADS[GRANT].replace(b'"r"}', b"5}"),
    "scopes-text": PAYLOADS[GRANT].replace(b'["a"]', b'"a"'),
    "scope-number": PAYLOADS[GRANT].replace(b'["a"]', b"[1]"),
    "key-missing": PAYLOADS[GRANT].replace(b'"key":%b,' % KEY, b""),
    "key-text": PAYLOADS[GRANT].replace(KEY, b'"k"'),
    "not-utf-8": PAYLOADS[GRANT].replace(b'"p"', b'"\xff"'),
    "lone-surrogate": PAYLOADS[GRANT].replace(b'"p"', rb'"\ud800"'),
    "nested-deep": b"[" * 100_000,
}
# What BKR2 knows beyond BKR1, with values of the right type, as (member, value).
NEW_MEMBERS = {
    "grant": (
        *((b"ends_at", b"9.5"), (b"authenticated_at", b"8"), (b"acr", b'"urn:mfa"')),
        *((b"id_token", b'"a.b.c"'), (b"dpop_key", b'"{}"'), (b"registration", b'"{}"')),
    ),
    "token": (
        *((b"size", b"1"), (b"issued_type", b'"urn:ietf:params:oauth:token-type:jwt"')),
        *((b"act", b'"{}"'), (b"details", b'"[]"'), (b"claims", b'"{}"')),
    ),
    "key": ((b"source", b'"profile base"'),),
    "intent": ((b"key", KEY), (b"profile", b'"p"')),
    "queued": ((b"size", b"1"),),
}
# A member that nobody knows, as deep and as odd as JSON can be: it comes back as it was.
UNKNOWN = (
    rb'"later":{"a":[1,2.5,-0.0,1e22,null,true,"\u00e9 \ud83d\ude00",{"unknown":{}}],"":[]},'
    b'"unknown":"of this name too"'
)


def with_member(payload: bytes, after: bytes, members: bytes) -> bytes:
    """Return a payload with members put behind the first brace that follows some text."""
    at = payload.index(b"{", payload.index(after)) + 1
    return payload[:at] + members + b"," + payload[at:]


def members_of(part: str) -> bytes:
    """Return the new members of one part as JSON."""
    return b",".join(b'"%b":%b' % pair for pair in NEW_MEMBERS[part])


def with_unknown() -> dict[str, tuple[int, bytes]]:
    """Return payloads with unknown members, one for each depth that a reader has."""
    grant, slot, queue = PAYLOADS[GRANT], PAYLOADS[TOKEN], PAYLOADS[QUEUE]
    issued = grant[:-1] + b',"issued":%b}' % slot
    return {
        "grant": (GRANT, with_member(grant, b"{", UNKNOWN)),
        "grant-key": (GRANT, with_member(grant, b'"key"', UNKNOWN)),
        "grant-issued": (GRANT, with_member(issued, b'"issued"', UNKNOWN)),
        "grant-issued-token": (GRANT, with_member(issued, b'"current"', UNKNOWN)),
        "slot": (TOKEN, with_member(slot, b"{", UNKNOWN)),
        "slot-key": (TOKEN, with_member(slot, b'"key"', UNKNOWN)),
        "slot-grant": (TOKEN, with_member(slot, b'"grant"', UNKNOWN)),
        "slot-current": (TOKEN, with_member(slot, b'"current"', UNKNOWN)),
        "slot-superseded": (TOKEN, with_member(slot, b'"superseded"', UNKNOWN)),
        "intent": (INTENT, with_member(PAYLOADS[INTENT], b"{", UNKNOWN)),
        "outcome": (OUTCOME, with_member(PAYLOADS[OUTCOME], b"{", UNKNOWN)),
        "queue": (QUEUE, with_member(queue, b"{", UNKNOWN)),
        "queue-key": (QUEUE, with_member(queue, b'"key"', UNKNOWN)),
        "queue-item": (QUEUE, with_member(queue, b'"items"', UNKNOWN)),
        "kept": (KEPT, with_member(PAYLOADS[KEPT], b"{", UNKNOWN)),
        "lease": (LEASE, with_member(PAYLOADS[LEASE], b"{", UNKNOWN)),
        "lease-count": (LEASE, with_member(PAYLOADS[LEASE], b'"counts"', UNKNOWN)),
        "lease-moment": (LEASE, with_member(PAYLOADS[LEASE], b'"recent"', UNKNOWN)),
        "question": (QUESTION, with_member(PAYLOADS[QUESTION], b"{", UNKNOWN)),
    }


def with_new() -> dict[str, tuple[int, bytes]]:
    """Return payloads that have every member which BKR2 added."""
    grant = with_member(PAYLOADS[GRANT], b"{", members_of("grant"))
    slot = with_member(PAYLOADS[TOKEN], b'"current"', members_of("token"))
    return {
        "grant": (GRANT, with_member(grant, b'"key"', members_of("key"))),
        "slot": (TOKEN, with_member(slot, b'"grant"', members_of("key"))),
        "intent": (INTENT, with_member(PAYLOADS[INTENT], b"{", members_of("intent"))),
        "queue": (QUEUE, with_member(PAYLOADS[QUEUE], b'"items"', members_of("queued"))),
    }


def new_faults() -> dict[str, tuple[int, bytes]]:
    """Return payloads in each of which one new member has a value of another type."""
    places = {
        "grant": (GRANT, b"{"),
        "token": (TOKEN, b'"current"'),
        "key": (GRANT, b'"key"'),
        "intent": (INTENT, b"{"),
        "queued": (QUEUE, b'"items"'),
    }
    made = {}
    for part, (kind, after) in places.items():
        for member, value in NEW_MEMBERS[part]:
            wrong = b"[]" if value.startswith((b'"', b"{")) else b'"1"'
            text = b'"%b":%b' % (member, wrong)
            name = f"{part}-{member.decode()}-wrong"
            made[name] = (kind, with_member(PAYLOADS[kind], after, text))
    for fault, value in (("negative", b"-1"), ("real", b"1.0"), ("bool", b"true")):
        slot = with_member(PAYLOADS[TOKEN], b'"current"', b'"size":' + value)
        made[f"token-size-{fault}"] = (TOKEN, slot)
    return made


def sealed(
    kind: int,
    name: str,
    payload: bytes,
    key_id: int = CURRENT,
    key: bytes = b"",
    magic: bytes = MAGIC,
) -> bytes:
    """Seal with a nonce made of the inputs, so that the files are the same each time."""
    nonce = sodium.keyed_hash(KEYS[1], b"%d %d " % (kind, key_id) + payload)[: sodium.NONCE_BYTES]
    head = magic + bytes((kind,)) + key_id.to_bytes(4, "big") + nonce
    key = key or KEYS[key_id]
    return head + sodium.seal(key, nonce, payload, head + name.encode())


def flipped(data: bytes, at: int, bit: int = 0x80) -> bytes:
    """Flip one bit of one byte."""
    return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]


def vectors(magic: bytes) -> dict[str, tuple[str, int, str, str, bytes]]:
    """Return every vector of a format by file name: expectation, kind, name, comment, entry."""
    seal = partial(sealed, magic=magic)
    made = {**_good(seal), **_truncated(seal), **_flipped(seal), **_moved(seal, magic)}
    faults = {fault: (GRANT, payload) for fault, payload in PAYLOAD_FAULTS.items()}
    if magic == MAGIC:
        del faults["unknown-field"]  # what BKR2 keeps
        faults |= new_faults()
        for where, (kind, payload) in with_unknown().items():
            entry = seal(kind, place(kind), payload)
            made[f"unknown-{where}"] = ("success", kind, place(kind), "a later member", entry)
        for where, (kind, payload) in with_new().items():
            entry = seal(kind, place(kind), payload)
            made[f"new-{where}"] = ("success", kind, place(kind), "all that it can have", entry)
    for fault, (kind, payload) in faults.items():
        entry, comment = (
            seal(kind, place(kind), payload),
            f"sealed well, and not a {KIND_NAMES[kind]}",
        )
        made[f"payload-{fault}"] = ("payload", kind, place(kind), comment, entry)
    return made


def place(kind: int) -> str:
    """Return the name of an entry of this kind."""
    return f"{G}/{T}" if kind == TOKEN else G


def _good(seal: Seal) -> dict[str, tuple[str, int, str, str, bytes]]:
    made = {}
    for kind, text in KIND_NAMES.items():
        name = f"{G}/{T}" if kind == TOKEN else G
        entry = seal(kind, name, PAYLOADS.get(kind, b"\0 any bytes"))
        made[f"good-{text}"] = ("success", kind, name, "nothing is wrong", entry)
    older = seal(GRANT, G, PAYLOADS[GRANT], key_id=1)
    made["good-older-key"] = ("success", GRANT, G, "an older key of the ring", older)
    return made


def _truncated(seal: Seal) -> dict[str, tuple[str, int, str, str, bytes]]:
    entry = seal(GRANT, G, PAYLOADS[GRANT])
    least = HEADER_BYTES + sodium.TAG_BYTES
    made = {
        f"cut-{length:02}": ("truncated", GRANT, G, f"{length} bytes are left", entry[:length])
        for length in range(0, least, 2)
    }
    made["cut-tag-alone"] = ("corrupt", GRANT, G, "no ciphertext but a tag", entry[:least])
    made["cut-last"] = ("corrupt", GRANT, G, "the last byte is missing", entry[:-1])
    made["longer"] = ("corrupt", GRANT, G, "a byte follows", entry + b"\0")
    made["longer-newline"] = ("corrupt", GRANT, G, "an editor added a newline", entry + b"\n")
    return made


def _flipped(seal: Seal) -> dict[str, tuple[str, int, str, str, bytes]]:
    entry = seal(GRANT, G, PAYLOADS[GRANT])
    expected = {**dict.fromkeys(range(5, 8), "newer key"), 4: "wrong kind", 8: "newer key"}
    made = {}
    for at in (*range(HEADER_BYTES), *range(len(entry) - 17, len(entry))):
        comment = f"the high bit of byte {at} is flipped"
        expect = expected.get(at, "corrupt")
        made[f"flip-{at:03}"] = (expect, GRANT, G, comment, flipped(entry, at))
    made["flip-low"] = ("corrupt", GRANT, G, "the lowest bit of all", flipped(entry, 40, 1))
    return made


def _moved(seal: Seal, magic: bytes) -> dict[str, tuple[str, int, str, str, bytes]]:
    grant, slot = seal(GRANT, G, PAYLOADS[GRANT]), seal(TOKEN, f"{G}/{T}", PAYLOADS[TOKEN])
    other = seal(GRANT, G, PAYLOADS[GRANT], key=KEYS[1])
    unknown = seal(GRANT, G, PAYLOADS[GRANT], key_id=9, key=KEYS[1])
    removed = seal(GRANT, G, PAYLOADS[GRANT], key_id=0, key=KEYS[1])
    return {
        "renamed": ("corrupt", GRANT, T, "put under another grant's name", grant),
        "slot-of-another-grant": ("corrupt", TOKEN, f"{T}/{T}", "moved to another grant", slot),
        "slot-of-another-name": ("corrupt", TOKEN, f"{G}/{G}", "moved to another slot", slot),
        "grant-as-token": ("wrong kind", TOKEN, G, "a grant where a slot should be", grant),
        "grant-as-queue": ("wrong kind", QUEUE, G, "a grant where a queue should be", grant),
        "kind-rewritten": ("corrupt", TOKEN, G, "the kind was rewritten", flipped(grant, 4, 3)),
        "key-other": ("corrupt", GRANT, G, "sealed by another key of the same id", other),
        "key-newer": ("newer key", GRANT, G, "a key that this ring is too old for", unknown),
        "key-removed": ("wrong key", GRANT, G, "a key that was taken from the ring", removed),
        "key-id-rewritten": ("corrupt", GRANT, G, "names the older key", flipped(grant, 8, 3)),
        "format-newer": ("newer format", GRANT, G, "BKR9", magic[:3] + b"9" + grant[4:]),
        "format-other": ("corrupt", GRANT, G, "the other format's name", flipped(grant, 3, 3)),
        "format-family": ("corrupt", GRANT, G, "BKRx", flipped(grant, 3, 0x49)),
        "key-ring": ("corrupt", GRANT, G, "another file of ours", b"BKRK" + grant[4:]),
        "json": ("corrupt", GRANT, G, "not sealed at all", PAYLOADS[GRANT]),
        "zeros": ("corrupt", GRANT, G, "a block that was never written", bytes(256)),
        "empty-line": ("corrupt", GRANT, G, "an empty line", b"\n"),
    }


def render(vector: tuple[str, int, str, str, bytes]) -> bytes:
    """Return one file's bytes."""
    expect, kind, name, comment, entry = vector
    head = f"expect: {expect}\nkind: {KIND_NAMES[kind]}\nname: {name}\ncomment: {comment}\n\n"
    return head.encode() + entry


def main() -> None:
    """Write every file anew."""
    for magic in FORMATS:
        folder = os.path.join(FOLDER, magic.decode())
        os.makedirs(folder, exist_ok=True)
        for old in os.listdir(folder):
            os.unlink(os.path.join(folder, old))
        for name, vector in vectors(magic).items():
            with open(os.path.join(folder, name), "wb") as out:
                out.write(render(vector))


if __name__ == "__main__":
    main()
