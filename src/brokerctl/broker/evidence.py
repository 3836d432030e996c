"""The facts of a request that cost something: read only where a rule asks for one of them.

They are evidence about a process of the same user, who can change it; but for what a platform
signed of a job, which is that platform's word.
"""

from __future__ import annotations

import time

from brokerctl import jsonlite
from brokerctl.broker.request import grant_key
from brokerctl.errors import StoreError
from brokerctl.model import LIVE
from brokerctl.platform.process import has_terminal, open_executable
from brokerctl.platform.system import os
from brokerctl.platform.work_clock import work_time
from brokerctl.store.entry import METADATA, TOKEN, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.identity import Job
    from brokerctl.model import Profile, TokenRequest
    from brokerctl.store.file import FileStore

_PLATFORM = "ci"
_READ_BYTES = 1 << 20


class Evidence:
    """Reads the facts of one request, whose profile is None for what a tool had us keep."""

    __slots__ = ("_claims", "_issuer", "job", "profile", "request", "store")

    def __init__(
        self,
        store: FileStore,
        issuer: Callable[[], IssuerClient],
        profile: Profile | None,
        request: TokenRequest,
        job: Job | None,
    ) -> None:
        self.store = store
        self._issuer = issuer
        self.profile = profile
        self.request = request
        self.job = job
        self._claims: dict[str, Any] | None = None

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - what `config.rules.CONDITIONS` says of it
        """Return a fact by its name, None where it can't be known; IssuerError from a platform."""
        if name == "tty":
            return has_terminal(self.request.requester.pid)
        if name == "exe_sha256":
            return self._find_digest()
        if name == "login_age":
            return self._find_login_age()
        if self._claims is None:
            self._claims = self._find_claims()
        found: str | None = self._claims.get("platform" if name == _PLATFORM else name)
        return found

    def _find_login_age(self) -> float | None:
        """Return the seconds since a person consented; None where there is no such grant."""
        profile = self.profile
        if profile is None or not profile.traits.needs_person:
            return None
        grant = self.store.find_grant(grant_key(profile, self.request.subject))
        if grant is None or grant.dead_why is not None:
            return None
        return max(0.0, time.time() - grant.obtained_at)

    def _find_claims(self) -> dict[str, Any]:
        """Return what was proven of this job: sealed with its tokens, or signed for us now."""
        job, profile = self.job, self.profile
        if job is None or profile is None:
            return {}
        held = self._find_sealed_claims(profile, job) if job.id is not None else None
        if held is None:
            source = profile.replace(identity=profile.job_source)
            audience = (
                profile.identity_audience or profile.traits.identity_audience or profile.issuer
            )
            deadline = work_time() + profile.timeout_s
            held = self._issuer().identify(source, audience, deadline).claims
        found: dict[str, Any] = jsonlite.loads(held.encode())
        return found

    def _find_sealed_claims(self, profile: Profile, job: Job) -> str | None:
        """Security: the key holds the job, so that no other job's claims are found here."""
        key, now = grant_key(profile, self.request.subject, job.id), time.time()
        for entry in self.store.entries_of(TOKEN, self.store.name_of(key)):
            token = entry.value.current if entry.value is not None else None
            if token is None or token.claims is None or token.status != LIVE:
                continue
            if token.expires_at is not None and token.expires_at > now:
                claims: str = token.claims
                return claims
        return None

    def _find_digest(self) -> str | None:
        """Return the SHA-256 of the requester's executable, as it runs; hex.

        It is read once, and remembered by what a change of the file would change.
        """
        fd = open_executable(self.request.requester.pid)
        if fd is None:
            return None
        try:
            found = os.fstat(fd)
            times = (found.st_mtime_ns, found.st_ctime_ns)
            words = map(str, (found.st_dev, found.st_ino, found.st_size, *times))
            name = plain_name(self.store.ring.name_key, "executable", *words)
            known = self.store.find_sealed(METADATA, name)
            if known is not None:
                return known.decode()
            digest = sha256_of(fd)
            self._remember(name, digest)
        except OSError:
            return None
        finally:
            os.close(fd)
        return digest

    def _remember(self, name: str, digest: str) -> None:
        try:
            self.store.put_sealed(METADATA, name, digest.encode())
        except StoreError:
            pass  # it is read again the next time


def sha256_of(fd: int) -> str:
    """Return the SHA-256 of all that a descriptor has, in hex."""
    from hashlib import sha256  # noqa: PLC0415 - once for each executable

    digest = sha256()
    while data := os.read(fd, _READ_BYTES):
        digest.update(data)
    return digest.hexdigest()
