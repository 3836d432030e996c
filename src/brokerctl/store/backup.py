"""`store backup` and `restore`: one portable file, sealed by a passphrase.

One JSON header line (format, version, how the passphrase makes the key), then libsodium's
secretstream over a tar; the header is the first piece's associated data, and the last piece says
that it is the last. In the tar lie the opened entries, so that another machine's ring seals them
anew. Access tokens are in it too: a restored store must be able to revoke them. It serves none of
them, because nobody knows what was revoked since the backup.
"""

from __future__ import annotations

import io
import tarfile

from nacl import bindings
from nacl.exceptions import CryptoError

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, DamagedError, StoreError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.model import SUPERSEDED, Value
from brokerctl.platform.work_clock import work_time
from brokerctl.store import Damage, codec, slots
from brokerctl.store.entry import (
    GRANT,
    KEPT,
    KIND_NAMES,
    QUEUE,
    SECRET,
    TOKEN,
    grant_name,
    is_name,
    plain_name,
    token_name,
)
from brokerctl.store.tool_credentials import put_back as put_kept_back
from brokerctl.store.values import Grant, Queue, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from brokerctl.model import GrantKey, Token
    from brokerctl.store.file import FileStore
    from brokerctl.store.locked import GrantUnderLock

FORMAT = "brokerctl backup"
VERSION, FIRST_VERSION = 2, 1  # 2: its entries may have members that are new
_KINDS = (GRANT, TOKEN, QUEUE, SECRET, KEPT)
_PIECE_BYTES = 64 * 1024
_EXTRA_BYTES = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_STREAM_HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MAX_HEADER_BYTES = 4096
_ABOUT = "about"


class BackupReport(Value):
    """What went into an archive; a damaged entry can't."""

    counts: dict[int, int]
    damaged: tuple[Damage, ...]


class RestoreReport(Value):
    """What came of each entry: `kept` had a generation here that is at least as high.

    `refused` could not be put back: exit code 9.
    """

    restored: tuple[str, ...]
    kept: tuple[str, ...]
    refused: tuple[Damage, ...]

    @property
    def is_partial(self) -> bool:
        """Return whether something of the archive is not here now."""
        return bool(self.refused)


def backup(
    store: FileStore, key: bytes, kdf: dict[str, Any], secret_names: tuple[str, ...] = ()
) -> tuple[bytes, BackupReport]:
    """Return an archive sealed by `key`, and what is in it; `kdf` says how the key is derived.

    `secret_names`: the stored secrets that the configuration names, so that they can be found
    again on a machine whose ring has another name key.
    """
    counts, damaged, members = dict.fromkeys(_KINDS, 0), [], []
    for kind in _KINDS:
        for entry in store.entries(kind):
            if entry.damage is not None:
                damaged.append(Damage(kind=kind, name=entry.name, why=entry.damage))
                continue
            value = entry.value
            if isinstance(value, Grant):
                value = value.replace(issued=None)  # it is in its slot
            data = codec.render(value) if isinstance(value, Value) else value
            assert isinstance(data, bytes)  # noqa: S101 - an entry has a value or damage
            members.append((f"{KIND_NAMES[kind]}/{entry.name}", data))
            counts[kind] += 1
    name_key = store.ring.name_key
    known = {plain_name(name_key, "secret", name): name for name in secret_names}
    about = {"ring": plain_name(name_key, "ring"), "secrets": known}
    members.insert(0, (_ABOUT, jsonlite.dumps(about).encode()))
    return _seal(_tar(members), key, kdf), BackupReport(counts=counts, damaged=tuple(damaged))


def _tar(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _seal(plain: bytes, key: bytes, kdf: dict[str, Any]) -> bytes:
    header = jsonlite.dumps({"format": FORMAT, "version": VERSION, "kdf": kdf}).encode() + b"\n"
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    out = [header, bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)]
    pieces = range(0, max(1, len(plain)), _PIECE_BYTES)
    for start in pieces:
        tag = _FINAL if start == pieces[-1] else 0
        piece = plain[start : start + _PIECE_BYTES]
        associated = header if start == 0 else None
        out.append(
            bindings.crypto_secretstream_xchacha20poly1305_push(state, piece, associated, tag)
        )
    return b"".join(out)


def _open(data: bytes, derive: Callable[[dict[str, Any]], bytes]) -> bytes:
    header, kdf = _parse_header(data)
    key = derive(kdf)
    at = len(header) + _STREAM_HEADER_BYTES
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    out, tag, associated = [], 0, header
    try:
        stream_header = data[len(header) : at]
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, stream_header, key)
        while at < len(data) and tag != _FINAL:
            piece = data[at : at + _PIECE_BYTES + _EXTRA_BYTES]
            plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(
                state, piece, associated or None
            )
            out.append(plain)
            at, associated = at + len(piece), b""
    except (CryptoError, ValueError, TypeError):
        raise DamagedError("the archive does not open: another passphrase, or altered") from None
    if tag != _FINAL or at != len(data):
        raise DamagedError("the archive was cut short, or something follows it")
    return b"".join(out)


def _parse_header(data: bytes) -> tuple[bytes, dict[str, Any]]:
    end = data.find(b"\n", 0, _MAX_HEADER_BYTES) + 1
    try:
        found = jsonlite.loads(data[:end]) if end else None
    except ValueError:
        found = None
    if type(found) is not dict or found.get("format") != FORMAT:
        raise DamagedError("this is not an archive of brokerctl")
    version = found.get("version")
    if type(version) is not int or version not in {VERSION, FIRST_VERSION}:
        raise StoreError(
            f"the archive has version {version!a}, and this brokerctl reads {VERSION}",
            hint="use the version of brokerctl that wrote it",
        )
    kdf = found.get("kdf")
    is_bare = found.keys() == {"format", "version", "kdf"}
    if type(kdf) is not dict or not (is_bare or version == VERSION):
        raise DamagedError("the archive's header is not what it should be")
    return data[:end], kdf


def restore(
    store: FileStore, data: bytes, derive: Callable[[dict[str, Any]], bytes]
) -> RestoreReport:
    """Put back what an archive holds; never over a higher or equal generation, or a live slot.

    `derive` makes the key from the header's `kdf`, with bounds of its own. DamagedError for an
    archive that does not open as a whole: nothing was changed then.
    """
    members = dict(_members(_open(data, derive)))
    about = _parse_about(members.pop(_ABOUT, b""))
    restored: list[str] = []
    kept: list[str] = []
    refused: list[Damage] = []
    # Grants before their slots: a token that is the grant is served only with it.
    for path, payload in sorted(members.items(), key=lambda item: _order(item[0])):
        try:
            is_new = _put_back(store, path, payload, about)
            (restored if is_new else kept).append(path)
        except (BrokerError, ValueError) as error:
            why = error.message if isinstance(error, BrokerError) else "is not what it should be"
            kind, name = _split(path)
            refused.append(Damage(kind=kind, name=name, why=why))
    return RestoreReport(restored=tuple(restored), kept=tuple(kept), refused=tuple(refused))


def _parse_about(data: bytes) -> dict[str, Any]:
    try:
        found = jsonlite.loads(data)
        secrets = found["secrets"].values()
        if type(found) is dict and all(type(name) is str for name in (found["ring"], *secrets)):
            return found
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DamagedError("the archive does not say what it holds")


def _members(tar_bytes: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(tar_bytes), mode="r:") as tar:
            for member in tar:
                found = tar.extractfile(member) if member.isreg() else None
                if found is not None:  # Security: read from memory, never extracted to a path
                    yield member.name, found.read()
    except tarfile.TarError:
        raise DamagedError("the archive holds no tar") from None


def _split(path: str) -> tuple[int, str]:
    kind, _, name = path.partition("/")
    return next((number for number, text in KIND_NAMES.items() if text == kind), 0), name


def _order(path: str) -> tuple[int, str]:
    kind, name = _split(path)
    return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), name)


def _put_back(store: FileStore, path: str, payload: bytes, about: dict[str, Any]) -> bool:
    """Put one entry back; False where what is here stays."""
    kind, name = _split(path)
    if kind == SECRET:
        return _put_secret(store, name, payload, about)
    if kind not in _KINDS:
        raise DamagedError(f"{path!a} is of no kind that a backup holds")
    value = codec.parse(kind, payload)
    if kind == KEPT:
        return put_kept_back(store, value)
    key = value.key.grant if kind == TOKEN else value.key
    with store.lock_grant(key, work_time() + LOCK_WAIT_S) as locked:
        if kind == GRANT:
            return locked.put_back(value)
        if kind == QUEUE:
            return _put_queue(locked, value, store)
        return _put_slot(store, locked, key, value)


def _put_slot(store: FileStore, locked: GrantUnderLock, key: GrantKey, slot: Slot) -> bool:
    name_key, fingerprint = store.ring.name_key, store.ring.fingerprint
    name = f"{grant_name(name_key, key)}/{token_name(name_key, slot.key)}"
    if store.disk.read(TOKEN, name) is not None:
        return False
    tokens = [
        token.replace(fingerprint=fingerprint(token.value.reveal())) if token.value else token
        for token in ((slot.current,) if slot.current else ()) + slot.superseded
    ]
    current = tokens.pop(0) if slot.current else None
    slot = slot.replace(current=current, superseded=tuple(tokens))
    if current is not None and not _is_the_grant(locked.state.grant, current):
        # Security: it may have been revoked since. For `revoke` to reach, not to serve.
        slot, fallen = slots.put(slot, None, store.clock())
        for one in fallen:
            locked.enqueue(slots.queue_token(one, store.clock(), SUPERSEDED), profile=slot.profile)
    if key.subject is not None:
        store.disk.list_grant(key.subject, grant_name(name_key, key))
    store.disk.write(TOKEN, name, codec.render(slot))
    return True


def _is_the_grant(grant: Grant | None, token: Token) -> bool:
    """Return whether a token is all that there is of a grant: no other could be asked for."""
    if grant is None or grant.dead_why is not None or grant.refresh_token is not None:
        return False
    return token.issuer_end is None and token.generation == grant.generation


def _put_queue(locked: GrantUnderLock, queue: Queue, store: FileStore) -> bool:
    here = {item.fingerprint for item in locked.state.queue}
    is_new = False
    for item in queue.items:
        moved = item
        if item.value:  # else nobody knows it, and its name says only when it was asked for
            moved = item.replace(fingerprint=store.ring.fingerprint(item.value.reveal()))
        if moved.fingerprint not in here:
            locked.enqueue(moved, profile=queue.profile)
            is_new = True
    return is_new


def _put_secret(store: FileStore, name: str, payload: bytes, about: dict[str, Any]) -> bool:
    name_key = store.ring.name_key
    if about["ring"] != plain_name(name_key, "ring"):
        known = about["secrets"].get(name)
        if known is None:
            raise StoreError("a secret that no profile named at the time of the backup")
        name = plain_name(name_key, "secret", known)
    if not is_name(name):
        raise DamagedError("not the name of a secret")
    if store.find_sealed(SECRET, name) is not None:
        return False
    store.put_sealed(SECRET, name, payload)
    return True
