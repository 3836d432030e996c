"""Home: opens configuration, keys, store, log and broker, once for each process.

It is light, since the front door and every command use it.
"""

from __future__ import annotations

import time

from brokerctl.audit.append import ROTATE_BYTES, Log
from brokerctl.broker import Broker
from brokerctl.broker.events import event
from brokerctl.broker.request import grant_key, read_within
from brokerctl.config import layers as config_layers
from brokerctl.config import paths
from brokerctl.errors import BrokerError, DeniedError, StoreError, UsageError, shell_word
from brokerctl.freshness import timestamp
from brokerctl.keys import harden, open_ring
from brokerctl.keys.ring import VERSION
from brokerctl.model import TokenRequest
from brokerctl.output import _STDERR, has_terminal, note, write_line
from brokerctl.platform.import_finder import load_at_once
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.process import read_requester
from brokerctl.platform.system import os
from brokerctl.policy import Rules
from brokerctl.store import find_store
from brokerctl.store.entry import plain_name
from brokerctl.store.held_plan import find_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import Approver, DecidedRequest
    from brokerctl.broker.revoke import Revoker
    from brokerctl.config.layers import Layers
    from brokerctl.effects.dial import Dialer
    from brokerctl.effects.http import Http
    from brokerctl.identity import Job
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import AccessToken, GrantKey, Profile, Reference, Token
    from brokerctl.oauth.steps import FetchSvid, Svid
    from brokerctl.platform.private_files import Folder
    from brokerctl.store import Damage
    from brokerctl.store.file import FileStore
    from brokerctl.store.interface import LockedGrant

_PURPOSE_CHARS = 200


class Home:
    """Everything that a command needs, opened once: configuration, keys, store, log, broker."""

    __slots__ = (
        *("_jobs", "_unkept", "broker", "environ", "folder", "is_kept", "layers", "log", "plan"),
        *("ring", "store"),
    )

    def __init__(
        self,
        environ: Mapping[str, str],
        folder: Folder,
        ring: KeyRing,
        layers: Layers,
        audit: Callable[[], Folder] | None = None,  # opens the log's folder, if elsewhere
        profile: str | None = None,  # that will be asked for, if one is named
    ) -> None:
        self.is_kept = audit is None  # False: store and keys end with this process
        self.environ = environ
        self.folder = folder
        self.ring = ring
        self.layers = layers
        store: FileStore = find_store("file")(
            folder,
            ring,
            renew=self._renewed,
            raise_format=None if ring.version == VERSION else self._raise_format,
            tell=self._tell,
        )
        self.store = store
        self.plan = find_plan(store, ring, layers, environ, profile)
        place = audit() if audit else _child(folder, "audit")
        rotate = self.plan.rotate_bytes or ROTATE_BYTES
        self.log = Log(place, ring, rotate=rotate, renew=self._renewed)
        within = read_within(environ)
        self._unkept: Folder | None = None  # in memory
        self._jobs: dict[Reference, Job] = {}  # as seen first: one key from decision to end
        self.broker = Broker(self.plan, self.store, self.log, self._redeem, within, self)

    def open_again(self) -> Home:
        """Return a Home for another thread, with the configuration as it is now.

        Folders and key are the same, and so is what a session counts and what ends with us.
        """
        layers = config_layers.read_layers(self.environ, working_folder())
        audit = None if self.is_kept else lambda: self.log.folder
        again = Home(self.environ, self.folder, self.ring, layers, audit)
        again._unkept = self._unkept
        again.broker.counts = self.broker.counts
        return again

    @property
    def offered(self) -> Mapping[str, Profile]:
        """Return the profiles that a tool's request may belong to; in a session those it has."""
        return self.plan.profiles

    @property
    def kept_for(self) -> tuple[str, ...]:
        """Return the tools whose own credentials are kept; in a session no tool's are."""
        return self.plan.keep

    def make_request(self, profile: str, tool: str, url: str | None = None) -> TokenRequest:
        """Make a tool's request for a profile's token; "": it is not known whose.

        The requester is the process that started us; in a session the one that its client names.
        """
        return make_token_request(profile, self.environ, tool, url)

    def get_token(self, request: TokenRequest) -> AccessToken:
        """Return a token as `Broker.get` does; a session refuses some that it gives."""
        return self.broker.get(request)

    def find_rules(
        self, profile: Profile | None, request: TokenRequest, job: Job | None
    ) -> Rules | None:
        """Return the rules in force; None where no layer has one, and no agent needs one."""
        layers = self.plan.policy_of("" if profile is None else profile.name)
        if not layers and request.requester.agent is None:
            return None
        from brokerctl.broker.evidence import Evidence

        evidence = Evidence(self.store_of(job), self.issuer, profile, request, job)
        return Rules(layers, self.plan.policy_digest, time.time(), evidence)

    def find_job(self, source: Reference) -> Job:
        """Return the job that an identity is of; UsageError where there is none to be seen."""
        if source not in self._jobs:
            load_at_once("brokerctl.identity")
            from brokerctl.identity import find_job

            self._jobs[source] = find_job(source, self.environ)
        return self._jobs[source]

    def store_of(self, job: Job | None) -> FileStore:
        """Return where the tokens of a job are kept.

        Security: where nobody knows which job this is, they end with this process, for the next one
        may be another's.
        """
        if job is None or job.id is not None or not self.is_kept:
            return self.store
        if self._unkept is None:
            from brokerctl.store.file.memory import MemorySystem

            self._unkept = MemorySystem().folder("memory")
        store: FileStore = find_store("file")(self._unkept, self.ring)
        return store

    def approval(self) -> Approver:
        """Return what finds the answers where rules want somebody to be asked, made anew."""
        from brokerctl.broker.channels import open_approval
        from brokerctl.effects import terminal

        return open_approval(self, terminal.is_interactive, terminal.ask_until, note)

    def key_of(self, profile: Profile, subject: str | None = None) -> GrantKey:
        """Return the key of what a request here and now would use; outside a job that of no job."""
        job = None
        if profile.job_source is not None:
            try:
                job = self.find_job(profile.job_source).id
            except UsageError:
                pass  # this is no such job
        return grant_key(profile, subject, job)

    def _raise_format(self) -> None:
        """Copy a store of an earlier format, and note once that older versions can't use it."""
        from brokerctl.keys.rekey import raise_version
        from brokerctl.store.file.earlier_copy import copy_store, place_of_copy

        if raise_version(self.folder, self.environ, lambda: copy_store(self.folder)) is not None:
            note(
                "the store has a new format, which versions of brokerctl before this one can't"
                f" read; a copy of it as it was lies in {place_of_copy(self.folder)}"
            )

    def _renewed(self) -> KeyRing:
        return open_ring(self.folder, self.environ) or self.ring

    def _redeem(self, decided: DecidedRequest, locked: LockedGrant) -> Token:
        from brokerctl.broker.redeem import Redeemer

        store = self.store_of(decided.job)
        return Redeemer(store, self.log, self.ring, self.issuer(), self._tell_end)(decided, locked)

    def notices(self, answer: AccessToken) -> list[str]:
        """Return the notes about a token for stderr; one that also holds for others comes once."""
        found = [answer.warning] if answer.warning else []
        whose = f"{answer.issuer} {answer.profile}"
        if answer.broader and self._is_news(f"broader {whose}", answer.broader):
            found.append(answer.broader)
        if answer.is_assumed and has_terminal():
            text = f"the issuer of '{answer.profile}' names no lifetime: how long it is, is assumed"
            if self._is_news(f"lifetime {whose}", text):
                found.append(text)
        return found

    def _tell_end(self, profile: Profile, ends_at: float) -> None:
        """Warn once on stderr that a login has to be renewed, with the date."""
        day = timestamp(ends_at).partition("T")[0]
        hint = f"run 'brokerctl login {shell_word(profile.name)}' before"
        text = f"the login of '{profile.name}' ends on {day}, by its issuer's word: {hint}"
        if self._is_news(f"ends {profile.issuer} {profile.name}", text):
            note(text)

    def _is_news(self, subject: str, text: str) -> bool:
        """Return whether this text differs from the last one on its subject, and store it."""
        from brokerctl.store.entry import METADATA

        name, data = plain_name(self.ring.name_key, "said", subject), text.encode()
        try:
            if self.store.find_sealed(METADATA, name) == data:
                return False
            self.store.put_sealed(METADATA, name, data)
        except BrokerError:
            pass  # it was not stored, so the note will come again
        return True

    def _tell(self, found: tuple[Damage, ...]) -> None:
        from brokerctl.store.check import tell

        def record(name: str, fields: dict[str, Any]) -> None:
            self.log.append(*event(name, fields))

        tell(found, lambda line: write_line(_STDERR, line), record)

    def revoker(self, tool: str, *, is_unkept: bool = False) -> Revoker:
        """Return the revoker of tokens, with the requester for its records.

        `is_unkept`: of those that end with this process.
        """
        from brokerctl.broker.revoke import Revoker

        store = self.store
        if is_unkept and self._unkept is not None:
            store = find_store("file")(self._unkept, self.ring)
        requester = read_requester(self.environ, tool)
        return Revoker(store, self.log, self.ring, self.issuer(), requester)

    def issuer(self) -> IssuerClient:
        """Return the client of the issuers: HTTP, metadata and client authentication."""
        from brokerctl.broker.issuer import IssuerClient, Senders, secret_variables
        from brokerctl.broker.known_issuers import KnownIssuers
        from brokerctl.broker.sources import SourceTokens

        hidden = secret_variables(self.plan.profiles.values())
        known = KnownIssuers(self.store, self.ring)
        senders = Senders(_http, self.environ, _fetch_svid)
        sources, within = SourceTokens(self.broker, self.ring), self.broker.within
        return IssuerClient(
            known, senders, self.find_secret, hidden, sources=sources, within=within
        )

    def dialer(self) -> Dialer:
        """Return what connects to the hosts of profiles, for a session that forwards requests."""
        from brokerctl.effects.dial import Dialer

        return Dialer(self.environ)

    def find_secret(self, name: str) -> str | None:
        """Return a client's secret that `profile secret` stored, by its name in the profile."""
        from brokerctl.store.entry import SECRET

        sealed = self.store.find_sealed(SECRET, plain_name(self.ring.name_key, "secret", name))
        return None if sealed is None else sealed.decode()


def _http(ca_file: str | None, environ: Mapping[str, str], timeout_s: float) -> Http:
    """Make the HTTP sender; its library is imported only if a request is sent."""
    from brokerctl.effects.http import Http

    return Http(ca_file, environ, timeout_s)


def _fetch_svid(asked: FetchSvid, environ: Mapping[str, str], timeout_s: float) -> Svid:
    """Ask a SPIFFE agent; what does so is imported only then."""
    from brokerctl.effects.workload_api import fetch_svid

    return fetch_svid(asked, environ, timeout_s)


def memory_issuer(environ: Mapping[str, str], profiles: Iterable[Profile]) -> IssuerClient:
    """Return a client of issuers and platforms that needs no home: what it learns ends with us."""
    from brokerctl.broker.issuer import IssuerClient, Senders, secret_variables
    from brokerctl.broker.known_issuers import KnownIssuers
    from brokerctl.keys.making import new_ring
    from brokerctl.store.file.memory import MemorySystem

    harden()
    ring, senders = new_ring(), Senders(_http, environ, _fetch_svid)
    store: FileStore = find_store("file")(MemorySystem().folder("memory"), ring)
    return IssuerClient(KnownIssuers(store, ring), senders, hidden=secret_variables(profiles))


def open_home(
    environ: Mapping[str, str], *, may_use_memory: bool = False, profile: str | None = None
) -> Home:
    """Open configuration, keys, store and log; the first use makes them.

    `may_use_memory`: in a CI job without a store, keys and store are made in memory. `profile`: the
    one that will be asked for.
    """
    if paths.SOCKET_VARIABLE in environ:
        raise DeniedError("a session has no home: it asks for tokens, and for nothing else")
    harden()
    layers = config_layers.read_layers(environ, working_folder())
    if layers.notice and has_terminal():
        note(layers.notice)
    if may_use_memory and paths.is_job_without_store(environ):
        from brokerctl.memory_home import hold_memory

        held = hold_memory()
        audit = lambda: held.log_in(environ, note)  # noqa: E731 - a name for the line's length
        return Home(environ, held.folder, held.ring, layers, audit, profile)
    home = open_folder(paths.state_home(environ))
    if home is None:  # pragma: no cover - it is made if missing
        raise StoreError("the state folder can't be opened")
    folder = _child(home, "v1")
    return Home(environ, folder, _ring(folder, environ, layers), layers, profile=profile)


def _child(folder: Folder, name: str) -> Folder:
    child = folder.child(name)
    if child is None:  # pragma: no cover - it is made if missing
        raise StoreError(f"can't make {folder.path}/{name}")
    return child


def working_folder() -> str | None:
    """Return where we are; None where that was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None  # there is no project file then


def _ring(folder: Folder, environ: Mapping[str, str], layers: Layers) -> KeyRing:
    def unlock_for() -> int | None:
        from brokerctl.config.compile import compile_layers

        return compile_layers(layers, environ).unlock_for_s

    ring = open_ring(folder, environ, unlock_for=unlock_for)
    if ring is not None:
        return ring
    from brokerctl.config.compile import compile_layers
    from brokerctl.keys.create import create_ring
    from brokerctl.store.file.subjects import note_new

    choice = compile_layers(layers, environ).keeper
    ring, notice = create_ring(folder, environ, choice, unlock_for=unlock_for)
    note_new(folder)
    if notice:
        write_line(_STDERR, f"brokerctl: note: {notice}")
    return ring


def make_token_request(
    profile: str, environ: Mapping[str, str], tool: str, url: str | None = None
) -> TokenRequest:
    """Make a request for a profile's token, whose requester is the process that started us."""
    purpose = environ.get("BROKERCTL_PURPOSE")
    return TokenRequest(
        profile=profile,
        requester=read_requester(environ, tool),
        purpose=purpose[:_PURPOSE_CHARS] if purpose else None,
        url=url,
    )
