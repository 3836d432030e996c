"""Which headers go on from a child to an upstream and back, and which do not.

Both ways lose what belongs to one connection alone (RFC 9110, section 7.6.1). Lengths and codings
of a transfer are never copied: each side gets its own, from what was parsed.
"""

from __future__ import annotations

from brokerctl.session.mask import Masker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    RawHeaders = list[tuple[bytes, bytes]]

_OF_A_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    )
)
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
# Never the child's own: the place of a credential, and what is made anew.
_OURS = frozenset((b"authorization", b"host", b"accept-encoding"))
_TEXTS = (b"text/", b"multipart/", b"message/")
_TEXT_ENDS = (
    *(b"json", b"xml", b"javascript", b"yaml", b"toml", b"graphql", b"csv", b"x-sh"),
    *(b"x-www-form-urlencoded", b"problem+json", b"x-ndjson", b"jsonlines", b"json-seq"),
)


def towards_upstream(
    given: RawHeaders, host: str, credential: tuple[str, str], *, is_upgrade: bool
) -> RawHeaders:
    """Return the headers of a request as its upstream gets them, framing left out.

    Security: what the child sent in the place of the credential is dropped, in each spelling that
    CGI and its kin take for the same (`_` for `-`).
    """
    name, value = credential[0].encode(), credential[1].encode()
    dropped = _OURS | {name.lower()}
    kept = [(k, v) for k, v in _going_on(given) if k.lower().replace(b"_", b"-") not in dropped]
    wanted = _find(given, b"accept-encoding")
    coding = wanted if wanted is not None and refuses_identity(wanted) else b"identity"
    return [
        (b"Host", host.encode()),
        *kept,
        (b"Accept-Encoding", coding),
        (name, value),
        *([(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")] if is_upgrade else []),
    ]


def towards_child(given: RawHeaders, masked: Iterable[bytes]) -> RawHeaders:
    """Return the headers of an answer as the child gets them, framing left out."""
    kept = _going_on(given)
    forms = tuple(masked)
    values = mask_whole(b"\n".join(value for _, value in kept), forms).split(b"\n")
    return [
        (name, value)
        for (name, _), value in zip(kept, values, strict=False)
        if mask_whole(name, forms) == name
    ]


def mask_whole(data: bytes, forms: tuple[bytes, ...]) -> bytes:
    """Return data of the same length with stars for each form of a secret."""
    if not any(form in data for form in forms):
        return data  # making a Masker takes longer than all else that is done to a head
    masker = Masker(forms, keeps_length=True)
    return masker.feed(data) + masker.rest()


def asks_websocket(given: RawHeaders) -> bool:
    """Return whether a request asks for a WebSocket (RFC 6455), the one upgrade that goes on."""
    tokens = {token.strip() for token in (_find(given, b"connection") or b"").lower().split(b",")}
    upgrade = (_find(given, b"upgrade") or b"").strip().lower()
    return b"upgrade" in tokens and upgrade == b"websocket"


def is_readable(given: RawHeaders) -> bool:
    """Return whether an answer's body is text that we can read, or may be: it says nothing."""
    coding = (_find(given, b"content-encoding") or b"identity").strip().lower()
    if coding not in {b"", b"identity"}:
        return False
    kind = (_find(given, b"content-type") or b"text/").partition(b";")[0].strip().lower()
    return kind.startswith(_TEXTS) or kind.endswith(_TEXT_ENDS)


def refuses_identity(accepted: bytes) -> bool:
    """Return whether Accept-Encoding leaves out a body as it is (RFC 9110, section 12.5.3)."""
    weights = {}
    for item in accepted.replace(b" ", b"").lower().split(b","):
        name, _, weight = item.partition(b";q=")
        weights[name] = weight
    chosen = weights.get(b"identity", weights.get(b"*", b"1"))
    return chosen.rstrip(b"0") in {b"", b"."} and chosen != b""


def content_length(given: RawHeaders) -> int | None:
    """Return the length that a head names, unless a transfer coding overrides it."""
    if _find(given, b"transfer-encoding") is not None:
        return None
    value = _find(given, b"content-length")
    return None if value is None else int(value)


def _going_on(given: RawHeaders) -> RawHeaders:
    named = {
        token.strip()
        for name, value in given
        if name.lower() == b"connection"
        for token in value.lower().split(b",")
    }
    dropped = _OF_A_CONNECTION | _FRAMING | named
    return [(name, value) for name, value in given if name.lower() not in dropped]


def _find(given: RawHeaders, name: bytes) -> bytes | None:
    """Return the values of one header as one list; None if there is none."""
    found = [value for one, value in given if one.lower() == name]
    return b", ".join(found) if found else None
