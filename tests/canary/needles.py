"""A secret in the forms that it may be written in: as it is, percent-encoded, hex, base64."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple
from urllib.parse import quote, quote_plus

LEAST_CHARS = 8  # shorter ones are found in anything
MOST_CHARS = 512  # of a longer one its beginning is looked for: hostile issuers' fill the memory
_BASE64_START = (0, 2, 3)  # characters that bytes before the secret have a say in, by their number


class Known(NamedTuple):
    """One secret that an issuer of the tests gave out or was sent."""

    kind: str  # one of KINDS in search.py
    value: str


def parse_known(text: str) -> set[Known]:
    """Parse what the issuers recorded, one JSON object a line; a torn last line is left out."""
    found = set()
    for line in text.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue  # the issuer was killed while writing it
        if isinstance(fields["value"], str) and len(fields["value"]) >= LEAST_CHARS:
            found.add(Known(fields["kind"], fields["value"]))
    return found


def needles(value: str) -> set[bytes]:
    """Return every form to look for; base64 wherever in a longer text the secret may begin."""
    value = value[:MOST_CHARS]
    plain = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    raw = {text.encode() for text in plain}
    coded = {form for text in raw for form in (text.hex().encode(), text.hex().upper().encode())}
    for text in raw:
        for shift, start in enumerate(_BASE64_START):
            data = bytes(shift) + text
            sure = len(data) * 8 // 6  # the characters after those depend on what follows
            coded.add(base64.b64encode(data)[start:sure])
            coded.add(base64.urlsafe_b64encode(data)[start:sure])
    return raw | coded
