"""What is known of the issuers, as SSH's known_hosts is: rows of the store, and no request.

Six kinds of rows: an issuer's metadata, which a login pins for every profile; the endpoints that
a profile itself named when its grant was obtained; what an issuer does to a grant when an access
token of it is revoked (RFC 7009, section 2.1 lets it end the whole grant, and some do); a note
that such a revocation is about to be sent for a grant's generation, because of which the end of
the grant can be explained even where it is found much later; that an issuer takes a grant which
another one made out to it once; and which exchanges of an access token for a narrower one a client
was refused.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import StoreError
from brokerctl.freshness import timestamp
from brokerctl.model import FlowTraits, Value
from brokerctl.oauth import metadata as about
from brokerctl.store.entry import METADATA, grant_name, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import GrantKey, Profile, TokenKey
    from brokerctl.oauth.metadata import Metadata
    from brokerctl.store.interface import Store, StoreKeys

ENDS, KEEPS = "ends", "keeps"
ONCE = "once"
FROM_NOW_ON = (
    "From now on no access token of this issuer's grants is revoked, which is what"
    ' revoke_at_exit = "none" says in a profile'
)
_VERSION = 1
_MOST_REFUSED = 64  # of a client's exchanges, noted at once
_ALL = ""  # all exchanges of a client


class Learnt(Value):
    """What one issuer was seen to do, and what the profile said then of `revoke_at_exit`."""

    word: str  # ends | keeps
    at: float
    said: str | None = None


class LoginMetadata(Value):
    """What an issuer said at a login that has not brought a grant yet."""

    profile: str
    issuer: str
    found: Metadata | None  # None: the profile names all its endpoints, and nothing was asked


class KnownIssuers:
    """Finds and stores what is known of the issuers of one store."""

    __slots__ = ("_keys", "_login", "_store")

    def __init__(self, store: Store, keys: StoreKeys, login: LoginMetadata | None = None) -> None:
        """`login`: the login at hand, for which the issuer's latest word counts."""
        self._store = store
        self._keys = keys
        self._login = login

    def at_login(self, login: LoginMetadata) -> KnownIssuers:
        """Return the same with the metadata of a login, which nothing else sees until `pin`.

        Security: a login that is given up must not lead a stored grant astray.
        """
        return KnownIssuers(self._store, self._keys, login)

    # Metadata

    def find_metadata(self, issuer: str) -> Metadata | None:
        """Return an issuer's metadata, however old: of the login at hand, or as pinned."""
        return self._learned(issuer) or self._find_row(self._name("metadata", issuer))

    def is_asked_at_login(self, issuer: str) -> bool:
        """Return whether the login at hand has asked this issuer already."""
        return self._learned(issuer) is not None

    def put_metadata(self, profile: Profile, before: Metadata | None, found: Metadata) -> None:
        """Store what an issuer says now; IssuerError where an endpoint left its origin."""
        if before is not None:
            usable = about.with_configured(found, profile)
            about.refuse_moved(about.with_configured(before, profile), usable, profile.name)
        # Security: a profile's own endpoint may hide a move, which other profiles did not accept.
        if before is None or about.endpoints_moved(before, found) is None:
            self._put_row(self._name("metadata", profile.issuer), found)

    def pin(self, profile: Profile, key: GrantKey, now: float) -> None:
        """Pin what the login was told, now that it has brought a grant or a token."""
        learned = self._learned(profile.issuer)
        if learned is not None:
            self._put_row(self._name("metadata", profile.issuer), learned)
        self._put_row(self._bound(key), about.configured(profile, now))
        self._store.drop_sealed(METADATA, self._refused(key))  # a person has just asked anew

    # A profile's own endpoints, bound to the grant that they served

    def bind(self, profile: Profile, key: GrantKey, now: float) -> None:
        """Note the profile's own endpoints with the grant that they served, the first time.

        A full disk costs the note, which the next refresh makes, and no token.
        """
        try:
            if self._find_row(self._bound(key)) is None:
                self._put_row(self._bound(key), about.configured(profile, now))
        except StoreError:
            return

    def refuse_moved(
        self, profile: Profile, key: GrantKey, usable: Metadata, endpoint: str
    ) -> None:
        """Raise IssuerError where this endpoint left its origin since the grant was obtained.

        Security: what the issuer says of itself is pinned for all its grants; what a profile says
        is held against what it said when a login, or a first request, brought this one.
        """
        bound = self._find_row(self._bound(key))
        is_login = self._login is not None and self._login.profile == profile.name
        if bound is None or is_login:  # a person has just asked for these endpoints
            return
        said = self.find_metadata(profile.issuer) or about.Metadata(issuer=profile.issuer)
        before = about.with_endpoints(said, bound)
        about.refuse_moved(before, usable, profile.name, (endpoint,))

    def with_bound_endpoints(self, profile: Profile, key: GrantKey) -> Profile:
        """Return a profile that was made of a grant's key with the endpoints noted for it."""
        bound = None if profile.flow else self._find_row(self._bound(key))
        return profile if bound is None else profile.replace(endpoints=about.endpoints_of(bound))

    def find_revoked_by(self, key: GrantKey) -> str:
        """Return who asks for the revocation of a grant's tokens, as noted with its endpoints."""
        bound = self._find_row(self._bound(key))
        return (bound and bound.revoked_by) or FlowTraits().revoked_by

    # What a revoked access token does to its grant

    def find_habit(self, profile: Profile) -> str | None:
        """Return what a revoked access token does to its grant: ends, keeps, or None, unknown.

        A profile that says `access` although the issuer was known to end grants has the last word;
        one that said so before it was known has not, for then nobody had been told.
        """
        if profile.revoke_at_exit == "none":
            return ENDS
        learnt = self.find_learnt(profile.issuer)
        if learnt is not None and learnt.word == ENDS:
            return KEEPS if profile.revoke_at_exit not in {None, learnt.said} else ENDS
        if profile.revoke_at_exit == "access" or learnt is not None:
            return KEEPS
        return None

    def find_learnt(self, issuer: str) -> Learnt | None:
        """Return what was learnt of an issuer, if anything was."""
        found = self._find_object(self._name("habit", issuer))
        try:
            return Learnt(word=found["word"], at=found["at"], said=found["said"])
        except KeyError:
            return None

    def learn(self, profile: Profile, issuer: str, word: str, now: float) -> None:
        """Store what an issuer was seen to do."""
        body = {"word": word, "at": now, "said": profile.revoke_at_exit, "issuer": issuer}
        self._put_object(self._name("habit", issuer), body)

    def note_revocation(self, key: GrantKey, generation: int, now: float) -> bool:
        """Note that an access token is about to be revoked, its grant having this generation.

        Returns whether it is the first of this generation.
        """
        if self.find_revocation(key, generation) is not None:
            return False
        body = {"generation": generation, "at": now, "issuer": key.issuer}
        self._put_object(self._noted(key), body)
        return True

    def forget_revocation(self, key: GrantKey) -> None:
        """Take the note back: the issuer was asked for nothing, or revoked nothing."""
        self._store.drop_sealed(METADATA, self._noted(key))

    def find_revocation(self, key: GrantKey, generation: int) -> float | None:
        """Return when a token was revoked since the grant has this generation, if one was."""
        found = self._find_object(self._noted(key))
        at = found.get("at")
        return at if found.get("generation") == generation and isinstance(at, float) else None

    def explain_end(self, profile: Profile, key: GrantKey, generation: int, now: float) -> str:
        """Return what the reason of a grant's end has to add, if we may have caused it; and learn.

        An empty text where no access token was revoked since the grant has this generation.
        """
        at = self.find_revocation(key, generation)
        if at is None:
            return ""
        self.learn(profile, key.issuer, ENDS, now)
        return (
            f"; at {timestamp(at)} it was asked to revoke an access token of it,"
            " with which some issuers end the grant"
        )

    # What becomes of another issuer's grant that was sent

    def takes_once(self, issuer: str) -> bool:
        """Return whether this issuer was seen to take another issuer's grant once."""
        return self._find_object(self._name("assertions", issuer)).get("word") == ONCE

    def learn_once(self, issuer: str, now: float) -> None:
        """Store that it does (RFC 7523, section 3, lets it note each `jti`)."""
        body = {"word": ONCE, "at": now, "issuer": issuer}
        self._put_object(self._name("assertions", issuer), body)

    # Exchanges for less that were refused, or did not narrow

    def is_exchange_refused(self, key: TokenKey, now: float) -> bool:
        """Return whether the issuer is known to exchange no access token for what this key names.

        It is asked again after a day, as for its metadata, and after a login.
        """
        noted = self._refused_at(key.grant)
        return any(
            noted.get(name, 0) <= now < noted.get(name, 0) + about.DAY_S
            for name in (_ALL, _asked(key))
        )

    def note_refused_exchange(self, key: TokenKey, now: float, *, is_of_client: bool) -> None:
        """Note that this exchange, or any of this client's, brings nothing; a full disk may not."""
        noted = self._refused_at(key.grant) | {_ALL if is_of_client else _asked(key): now}
        newest = sorted(noted, key=noted.__getitem__)[-_MOST_REFUSED:]
        body = {"refused": {name: noted[name] for name in newest}, "issuer": key.grant.issuer}
        try:
            self._put_object(self._refused(key.grant), body)
        except StoreError:
            return

    def _refused_at(self, key: GrantKey) -> dict[str, float]:
        found = self._find_object(self._refused(key)).get("refused")
        listed = found.items() if isinstance(found, dict) else ()
        return {name: at for name, at in listed if isinstance(at, int | float)}

    # Rows and their names

    def _learned(self, issuer: str) -> Metadata | None:
        return self._login.found if self._login and self._login.issuer == issuer else None

    def _name(self, kind: str, subject: str) -> str:
        return plain_name(self._keys.name_key, kind, subject)

    def _bound(self, key: GrantKey) -> str:
        # All jobs of a profile share this note: one each would outlive its job.
        return self._name("endpoints", grant_name(self._keys.name_key, key.replace(job=None)))

    def _noted(self, key: GrantKey) -> str:
        return self._name("revocation", grant_name(self._keys.name_key, key))

    def _refused(self, key: GrantKey) -> str:
        # All subjects of a client share it; neither an issuer nor a client's id has a line break.
        return self._name("exchange", f"{key.issuer}\n{key.client_id}")

    def _find_row(self, name: str) -> Metadata | None:
        sealed = self._store.find_sealed(METADATA, name)
        return None if sealed is None else about.parse(sealed)

    def _put_row(self, name: str, metadata: Metadata) -> None:
        self._store.put_sealed(METADATA, name, about.render(metadata))

    def _find_object(self, name: str) -> dict[str, Any]:
        sealed = self._store.find_sealed(METADATA, name)
        try:
            found = {} if sealed is None else jsonlite.loads(sealed)
        except ValueError:
            return {}
        return found if isinstance(found, dict) and found.get("v") == _VERSION else {}

    def _put_object(self, name: str, body: dict[str, Any]) -> None:
        self._store.put_sealed(METADATA, name, jsonlite.dumps(body | {"v": _VERSION}).encode())


def _asked(key: TokenKey) -> str:
    """Return what a token is narrowed to, as one text."""
    return jsonlite.dumps([list(key.scopes), list(key.resource), list(key.audience)])
