"""Writes tests/vectors/store/: sealed entries with one fault each, or none.

Run `python -m tests.vectors.make_store_vectors` after a change of the format; a test compares what
is committed with what this script makes. (What must open for ever lies in tests/vectors/kept, which
no script makes.) Each file has a header (`expect`, `kind`, `name`,
`comment`), an empty line, and the entry's bytes. The ring has keys 1 and 2, of which 2 is current.
"""

from __future__ import annotations

import os

from brokerctl import sodium
from brokerctl.store.entry import HEADER_BYTES, KIND_NAMES, MAGIC

KEYS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
CURRENT = 2
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "store")
GRANT, TOKEN, INTENT, OUTCOME, QUEUE, KEPT = 1, 2, 3, 7, 9, 10
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


def sealed(kind: int, name: str, payload: bytes, key_id: int = CURRENT, key: bytes = b"") -> bytes:
    """Seal with a nonce made of the inputs, so that the files are the same each time."""
    nonce = sodium.keyed_hash(KEYS[1], b"%d %d " % (kind, key_id) + payload)[: sodium.NONCE_BYTES]
    head = MAGIC + bytes((kind,)) + key_id.to_bytes(4, "big") + nonce
    key = key or KEYS[key_id]
    return head + sodium.seal(key, nonce, payload, head + name.encode())


def flipped(data: bytes, at: int, bit: int = 0x80) -> bytes:
    """Flip one bit of one byte."""
    return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]


def vectors() -> dict[str, tuple[str, int, str, str, bytes]]:
    """Return every vector by file name: expectation, kind, name, comment, entry."""
    made = {**_good(), **_truncated(), **_flipped(), **_moved()}
    for fault, payload in PAYLOAD_FAULTS.items():
        entry = sealed(GRANT, G, payload)
        made[f"payload-{fault}"] = ("payload", GRANT, G, "sealed well, and not a grant", entry)
    return made


def _good() -> dict[str, tuple[str, int, str, str, bytes]]:
    made = {}
    for kind, text in KIND_NAMES.items():
        name = f"{G}/{T}" if kind == TOKEN else G
        entry = sealed(kind, name, PAYLOADS.get(kind, b"\0 any bytes"))
        made[f"good-{text}"] = ("success", kind, name, "nothing is wrong", entry)
    older = sealed(GRANT, G, PAYLOADS[GRANT], key_id=1)
    made["good-older-key"] = ("success", GRANT, G, "an older key of the ring", older)
    return made


def _truncated() -> dict[str, tuple[str, int, str, str, bytes]]:
    entry = sealed(GRANT, G, PAYLOADS[GRANT])
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


def _flipped() -> dict[str, tuple[str, int, str, str, bytes]]:
    entry = sealed(GRANT, G, PAYLOADS[GRANT])
    expected = {**dict.fromkeys(range(5, 8), "newer key"), 4: "wrong kind", 8: "newer key"}
    made = {}
    for at in (*range(HEADER_BYTES), *range(len(entry) - 17, len(entry))):
        comment = f"the high bit of byte {at} is flipped"
        expect = expected.get(at, "corrupt")
        made[f"flip-{at:03}"] = (expect, GRANT, G, comment, flipped(entry, at))
    made["flip-low"] = ("corrupt", GRANT, G, "the lowest bit of all", flipped(entry, 40, 1))
    return made


def _moved() -> dict[str, tuple[str, int, str, str, bytes]]:
    grant, slot = sealed(GRANT, G, PAYLOADS[GRANT]), sealed(TOKEN, f"{G}/{T}", PAYLOADS[TOKEN])
    other = sealed(GRANT, G, PAYLOADS[GRANT], key=KEYS[1])
    unknown = sealed(GRANT, G, PAYLOADS[GRANT], key_id=9, key=KEYS[1])
    removed = sealed(GRANT, G, PAYLOADS[GRANT], key_id=0, key=KEYS[1])
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
        "format-newer": ("newer format", GRANT, G, "BKR2", flipped(grant, 3, 3)),
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
    os.makedirs(FOLDER, exist_ok=True)
    for old in os.listdir(FOLDER):
        os.unlink(os.path.join(FOLDER, old))
    for name, vector in vectors().items():
        with open(os.path.join(FOLDER, name), "wb") as out:
            out.write(render(vector))


if __name__ == "__main__":
    main()
