"""The words of the design as plain immutable values: what every room speaks of.

Times are seconds since the epoch, UTC (`now` is always an argument); names ending in `_s` are
seconds; lists are tuples. Scopes, resources and audiences are RFC 6749, 8707 and 8693's words.
"""

from __future__ import annotations

NOT_BEARER = "N_A"  # the type of what is no bearer token (RFC 8693, section 2.2.1)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform

    from brokerctl.secret import Secret
else:

    def dataclass_transform(**_: object):  # noqa: ANN201, D103 - typing is heavy
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _ValueType(type):
    """Notes a class's annotations and defaults; `dataclasses` costs too much, slots a little."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _ValueType:
        own = tuple(body.get("__annotations__", ()))
        defaults = {field: body.pop(field) for field in own if field in body}
        made = super().__new__(cls, name, bases, body)
        made._fields = getattr(made, "_fields", ()) + own
        made._defaults = {**getattr(made, "_defaults", {}), **defaults}
        made._names = frozenset(made._fields)
        return made

    _fields: tuple[str, ...]
    _names: frozenset[str]
    _defaults: dict[str, Any]


class Value(metaclass=_ValueType):
    """An immutable value with named fields; a missing one without default is a TypeError."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - mypy reads the fields instead
        cls = type(self)
        values = {**cls._defaults, **given}
        if values.keys() != cls._names:
            missing = [name for name in cls._fields if name not in values]
            fault = (
                f"needs {missing[0]}" if missing else f"has no {min(given.keys() - cls._fields)}"
            )
            raise TypeError(f"{cls.__name__} {fault}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} can't be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} can't be changed")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self.as_dict().values()))

    def __repr__(self) -> str:
        inner = ", ".join(f"{field}={value!r}" for field, value in self.as_dict().items())
        return f"{type(self).__name__}({inner})"  # Secret prints as stars

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, secrets still sealed in `Secret`."""
        held = self.__dict__
        return {field: held[field] for field in type(self)._fields}

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - as __init__
        """Return a copy with some fields changed."""
        return type(self)(**{**self.as_dict(), **changes})


class StoredValue(Value):
    """A value that lies in the store, sealed.

    `unknown` has the members that a later version wrote and this one does not know, as one JSON
    object: they are written back as they were (contract, section 9).
    """

    unknown: Secret | None = None

    def as_members(self) -> dict[str, Any]:
        """Return the fields by name, with those that are not known where they were found."""
        from brokerctl import jsonlite  # noqa: PLC0415 - a warm hand-out writes nothing

        fields = self.as_dict()
        unknown: Secret | None = fields.pop("unknown")
        return fields if unknown is None else fields | jsonlite.loads(unknown.reveal().encode())

    @classmethod
    def from_members(cls, members: dict[str, Any]) -> Self:
        """Make one of these, or a later version's; ValueError where that nests too deep."""
        from brokerctl import jsonlite  # noqa: PLC0415 - as above
        from brokerctl.secret import Secret  # noqa: PLC0415 - as above

        names = set(cls._fields) - {"unknown"}
        if members.keys() <= names:
            return cls(**members)
        known = {name: value for name, value in members.items() if name in names}
        more = {name: value for name, value in members.items() if name not in names}
        return cls(**known, unknown=Secret(jsonlite.dumps_unread(more)))


WITHIN = "BROKERCTL_WITHIN"  # for what we run: the profiles asked for, outermost first, by commas


class Reference(Value):
    """Where a secret or a token is found, as `{ env = "X" }`: it may be shown itself."""

    kind: str  # env, file, keyring, store, command; of a key also sign, of a token identity, …
    target: tuple[str, ...]  # its one string, or the words of the command


class Exchange(Value):
    """Whose token a flow exchanges (RFC 8693, 2.1). A profile's target may name `id_token` too."""

    subject: Reference  # of kind identity, profile, file or command
    subject_type: str
    actor: Reference | None = None
    actor_type: str | None = None
    requested_type: str | None = None  # None: an access token


# What an issuer makes out for another: RFC 8693's JWT, and the identity assertion's (draft -05).
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
GRANT_TYPES = (f"{_TOKEN_TYPE}jwt", f"{_TOKEN_TYPE}id-jag")


class FlowTraits(Value):
    """What other rooms ask about a flow; `entry` is its file below `oauth.flows`, and class."""

    entry: str = ""
    needs_person: bool = True  # somebody must look at a browser: a login comes first
    shows_code: bool = False  # the browser may be on another machine (RFC 8628)
    uses_pkce: bool = False  # RFC 7636
    needs_secret: bool = False  # its client has credentials of its own
    exchanges: bool = False  # it needs another's token, which `exchange` names
    is_of_job: bool = False  # … which is this job's identity if nothing else is said
    takes_actor: bool = False  # … and who acts for its subject, and a type to ask for
    identity_audience: str | None = None  # who an identity is made out to; None: the issuer
    asks_audience: bool = False  # its issuer may have to say that first
    takes_audience: bool = False  # it sends RFC 8693's parameter
    token_type: str = "Bearer"  # of what its tokens are; NOT_BEARER: a role's credentials
    table: str = ""  # the key of the configuration that holds what is this flow's own
    takes_signer: bool = False  # its client_key may be a command that signs
    has_levels: bool = False  # its scopes are those of config.scope_levels
    has_session_policy: bool = False  # what narrows it is that of config.session_policies
    revoked_by: str = "client"  # as oauth.revocation names it: RFC 7009's client, or the holder
    endpoints: tuple[str, ...] = ("token_endpoint",)  # by their metadata names


# The one table of flows: here because configuration and broker both ask for the traits.
FLOWS = {
    "code": FlowTraits(
        entry="code:Code", uses_pkce=True, endpoints=("authorization_endpoint", "token_endpoint")
    ),
    "device": FlowTraits(
        entry="device:Device",
        shows_code=True,
        endpoints=("device_authorization_endpoint", "token_endpoint"),
    ),
    "client_credentials": FlowTraits(
        entry="client_credentials:ClientCredentialsFlow", needs_person=False, needs_secret=True
    ),
    "token_exchange": FlowTraits(
        entry="token_exchange:TokenExchange",
        needs_person=False,
        exchanges=True,
        takes_actor=True,
        takes_audience=True,
    ),
    "jwt_bearer": FlowTraits(entry="jwt_bearer:JwtBearer", needs_person=False, exchanges=True),
    "aws_web_identity": FlowTraits(
        entry="aws_web_identity:AwsWebIdentity",
        needs_person=False,
        token_type=NOT_BEARER,
        table="aws",
        has_session_policy=True,
        exchanges=True,
        identity_audience="sts.amazonaws.com",
    ),
    "google_workload": FlowTraits(
        entry="google_workload:GoogleWorkload",
        needs_person=False,
        table="google",
        exchanges=True,
        is_of_job=True,
    ),
    "azure_workload": FlowTraits(
        entry="azure_workload:AzureWorkload",
        needs_person=False,
        table="azure",
        exchanges=True,
        is_of_job=True,
        identity_audience="api://AzureADTokenExchange",
    ),
    "publish": FlowTraits(
        entry="publish:Publish",
        needs_person=False,
        table="publish",
        exchanges=True,
        is_of_job=True,
        asks_audience=True,
        revoked_by="holder",
    ),
    "github_app": FlowTraits(
        entry="github_app:GitHubApp",
        needs_person=False,
        table="github_app",
        takes_signer=True,
        has_levels=True,
        revoked_by="holder",
    ),
}


class KeeperTraits(Value):
    """What other files ask about who keeps the data key; `entry` is its file below `keys`."""

    entry: str = ""
    readers: str = ""  # who else could read the key
    cached_for_s: int | None = None  # by the kernel; None: it is as quick as the cache
    is_typed: bool = False  # a person has to unlock it
    lies_beside: bool = False  # in a file beside what it protects
    is_usual: bool = False  # a first use tries it, in the order of the table
    variable: str | None = None  # that gives it, or begins the names of those that do
    is_given: bool = False  # what the variable holds is the key itself: a first use takes it then


KEEPERS = {  # the one table of keepers, here for the same reason
    "keyring": KeeperTraits(
        entry="keyring:KeyringKeeper",
        readers="programs of this desktop session can ask the keyring for it",
        cached_for_s=3600,
        is_usual=True,
    ),
    "passphrase": KeeperTraits(
        entry="passphrase:PassphraseKeeper",
        readers="nobody without the passphrase, but for the kernel's copy while it is unlocked",
        cached_for_s=8 * 3600,
        is_typed=True,
        variable="BROKERCTL_PASSPHRASE",
    ),
    "file": KeeperTraits(
        entry="file:FileKeeper",
        readers="whoever can read this user's files has the key too",
        lies_beside=True,
        is_usual=True,
    ),
    "env": KeeperTraits(
        entry="env:EnvKeeper",
        readers="whoever can read this process's environment has the key too",
        variable="BROKERCTL_KEY",
        is_given=True,
    ),
}
NO_KEEPER = KeeperTraits()  # of a later version's


class Profile(Value):
    """A named way to get tokens from one issuer for one resource, fully resolved."""

    name: str
    issuer: str
    flow: str  # as FLOWS names it
    client_id: str
    client_auth: str = "none"  # RFC 8414's token_endpoint_auth_method names
    client_secret: Reference | None = None
    client_key: Reference | None = None
    exchange: Exchange | None = None
    identity: Reference | None = None  # where this job's identity comes from: auto, or a platform
    identity_audience: str | None = None  # who it is made out to; None: as the flow has it
    job_source: Reference | None = None  # the identity that its tokens come from, over any exchange
    scopes: tuple[str, ...] = ()  # sorted, unique
    resource: tuple[str, ...] = ()  # RFC 8707, sorted
    audience: tuple[str, ...] = ()  # RFC 8693, sorted
    extra: str | None = None  # further parameters, canonical JSON (RFC 8785)
    google: tuple[str, ...] = ()  # the provider of a pool, and a service account
    hosts: tuple[str, ...] = ()  # canonical URLs, in the order of the configuration
    present: tuple[str, str] | None = None  # how its hosts are shown a token; None: as a bearer
    username: str | None = None
    username_match: str = "exact"  # exact | any: whose questions it answers, by their user
    env: str | None = None
    env_beside: tuple[tuple[str, str], ...] = ()  # what a tool needs set beside its token in `env`
    owner: str | None = None
    purpose: str | None = None
    subject: str | None = None
    min_ttl_s: int | None = None
    max_ttl_s: int | None = None
    ca_file: str | None = None
    timeout_s: int = 20
    login_wait_s: int = 300  # how long a browser or a device may take
    lifetime_s: int | None = None  # assumed where the issuer says nothing
    exec_mode: str | None = None  # own | shared | None: the default of contract 1
    revoke_at_exit: str | None = None  # access | none; None: as the issuer is seen to do
    refresh_ends_previous: bool | None = None  # None: unknown
    grant_ended_errors: tuple[str, ...] = ()  # beside invalid_grant (RFC 6749, 5.2)
    allow_broader: bool | None = None  # scopes beyond the request; None: as contract 1 says
    send_resource: bool = True
    insecure_ok: bool | None = None  # no certificate need be checked; None: it must
    pkce_support: str = "required"  # required | assumed
    assertion_audience: str = "issuer"  # issuer | token_endpoint
    preset: str | None = None
    endpoints: tuple[tuple[str, str], ...] = ()  # configured ones, by metadata name

    @property
    def is_chained(self) -> bool:
        """Whether it can get grants for the issuers of other profiles."""
        return self.exchange is not None and self.exchange.requested_type in GRANT_TYPES

    @property
    def is_for_issuers(self) -> bool:
        """Whether it gets nothing else: an identity assertion grant is shown to no tool."""
        return self.exchange is not None and self.exchange.requested_type == GRANT_TYPES[-1]

    @property
    def source_names(self) -> tuple[str, ...]:
        """The profiles whose tokens it exchanges."""
        asked = self.exchange
        found = (asked.subject, asked.actor) if asked is not None else ()
        return tuple(one.target[0] for one in found if one is not None and one.kind == "profile")

    @property
    def is_own_as_source(self) -> bool:
        """Whether a session that exchanges its token has one of its own, which ends with it.

        One of a person's grant would cost a refresh for each session, or end everybody's token.
        """
        return not (self.traits.needs_person or self.refresh_ends_previous)

    @property
    def traits(self) -> FlowTraits:
        """What is known of the profile's flow; the usual where the profile has gone."""
        return FLOWS.get(self.flow) or FlowTraits()


class Requester(Value):
    """The process that asks: evidence for the record, read once from /proc; None is unknown."""

    uid: int
    pid: int
    exe: str | None = None
    parents: tuple[tuple[str | None, str | None], ...] = ()  # (name, executable), nearest first
    tool: str = "get"
    session: str | None = None
    ci: str | None = None
    agent: str | None = None  # the name that its session was started for

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as records have them: an agent only where there is one."""
        fields = super().as_dict()
        if self.agent is None:
            del fields["agent"]
        return fields


class TokenRequest(Value):
    """What is asked of the broker; None means "as the profile says"."""

    profile: str
    requester: Requester
    subject: str | None = None
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    made_out_to: tuple[str, ...] = ()  # in a chain of exchanges: an issuer, then its resources
    for_profile: str | None = None  # … and the profile whose request this one is made for
    deadline: float | None = None  # of the work clock, where another grant's lock is held meanwhile
    min_ttl_s: float | None = None
    margin: tuple[float, float] | None = None  # else left for the tool: seconds, share of its life
    max_ttl_s: float | None = None
    is_fresh: bool = False  # --fresh: issued after this request began
    is_patient: bool = False  # … and yet not sooner after a failure than any other request
    is_own: bool = False  # a session's own token: never from the cache, never put there
    is_reused: bool = False  # … but in its session one serves: an exchange, what a session serves
    purpose: str | None = None
    url: str | None = None  # where the token is to go, if that is known
    sent: tuple[str, str] | None = None  # with which method and path, at a gateway or proxy
    is_insecure: bool = False  # the tool says that it would not check that server's certificate
    route: tuple[tuple[str, str], ...] = ()  # how the tool gets there, as far as its request says
    insecure_by: str | None = None  # by which variable or file, where its request does not say it


class Decision(Value):
    """What policy says of one request; scopes and max_ttl_s are what narrowing left."""

    effect: str  # allow | narrow | ask | deny
    rule: str
    layer: str
    reason: str
    scopes: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    max_ttl_s: float | None = None
    digest: str | None = None  # of the layers with rules; None: there is no rule
    noted: tuple[tuple[str, Any], ...] = ()  # the facts that they asked for, if no field has them
    limits: tuple[Any, ...] = ()  # `config.rules.Limit`s of the rules that allow or ask
    asking: tuple[tuple[str, str], ...] = ()  # layer and name of each rule that asks
    approval: tuple[tuple[str, Any], ...] = ()  # who said yes where rules ask, as records have it


class GrantKey(Value):
    """Every input that changes a grant; its keyed hash names the file, the lock and the folder."""

    issuer: str
    client_id: str
    subject: str | None = None
    actor: str | None = None
    job: str | None = None
    scopes: tuple[str, ...] = ()  # the profile's own, as configured
    resource: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    details: str | None = None
    extra: str | None = None
    thumbprint: str | None = None
    source: str | None = None  # whose token is exchanged (RFC 8693), as the profile names it
    unknown: str | None = None  # members of a later version: part of the name, as all of a key is


class TokenKey(Value):
    """Every input that changes an access token: the grant's, and the narrowed request as sent."""

    grant: GrantKey
    actor: str | None = None  # a session with a token of its own; None: the grant's
    scopes: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    details: str | None = None
    extra: str | None = None
    thumbprint: str | None = None
    unknown: str | None = None


# How a token stands: what a slot, an ending and a record say of it.
LIVE, SUPERSEDED = "live", "superseded"
REVOKED, EXPIRED, LOCAL_ONLY, UNKNOWN = "revoked", "expired", "local_only", "unknown"
DEAD = (REVOKED, EXPIRED)
HELD = (LIVE, SUPERSEDED, UNKNOWN, LOCAL_ONLY)  # may be alive at the issuer


def size_of(value: Secret) -> int | None:
    """Return how many bytes of UTF-8 a value has; None where it has gone."""
    return len(value.reveal().encode()) if value else None


class Token(StoredValue):
    """One access token as it is held: value, what it is for, and until when."""

    value: Secret
    fingerprint: str  # keyed hash, 32 hex characters: joins issue, hand-out, revoke and leak
    token_type: str  # as the issuer wrote it: Bearer
    scopes: tuple[str, ...]  # granted
    issued_at: float  # when the request was sent
    expires_at: float | None  # the issuer's; None: the issuer named none and the token is the grant
    generation: int = 0  # of the grant that it was redeemed from; 0: a flow without a grant
    status: str = LIVE  # live | superseded | revoked | expired | local_only | unknown
    session: str | None = None  # of the `exec` that owns it
    is_assumed: bool = False  # the issuer named no expiry: `expires_at` is our guess
    size: int | None = None  # of the value, in bytes of UTF-8; it stays when the value goes
    issued_type: str | None = None  # RFC 8693's issued_token_type
    act: str | None = None  # RFC 8693's actors, JSON as the next two
    details: str | None = None  # RFC 9396's; nothing fills it yet
    claims: str | None = None  # what was proven of the job whose identity was exchanged

    @property
    def known_size(self) -> int | None:
        """The value's size; of what an earlier version stored only while it has its value."""
        return size_of(self.value) if self.size is None else self.size

    @property
    def issuer_end(self) -> float | None:
        """When the token is dead by the issuer's word; None where it said nothing."""
        return None if self.is_assumed else self.expires_at


class AccessToken(Value):
    """What leaves the broker: one hand-out, decided and recorded."""

    value: Secret
    token_type: str
    expires_at: float | None  # narrowed by max_ttl: what is reported and enforced
    scopes: tuple[str, ...]
    profile: str
    issuer: str
    subject: str | None
    resource: tuple[str, ...]
    fingerprint: str
    source: str  # cache | refresh | exchange | issue
    warning: str | None = None
    broader: str = ""  # what to say of scopes that nobody asked for; "": there are none, or may be
    is_assumed: bool = False  # the issuer named no expiry
    audience: tuple[str, ...] = ()
    renew_at: float | None = None  # when who keeps it should ask again: the next is another then
    issued_at: float | None = None  # when the issuer was asked for it
