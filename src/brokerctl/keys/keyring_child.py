"""The process that talks to the OS keyring, so that a prompt or a hung bus can be given up.

Run as a file by keyring.py with `python -I`, and by nothing else; imports nothing of ours. One
JSON request on stdin; on stdout `ready` when the libraries are loaded, then one JSON answer.

Security: the back ends are named here one by one. Entry points, PYTHON_KEYRING_BACKEND and
keyringrc.cfg, which could name one that stores plain text, are never consulted.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

if sys.platform == "darwin":
    from keyring.backends import macOS
else:
    import secretstorage
    from keyring.backends import SecretService
    from keyring.backends import kwallet as kwallets

    try:
        dbus = import_module("dbus")
    except ImportError:  # optional: KWallet from 5.97 on speaks the Secret Service too
        dbus = None  # type: ignore[assignment]  # as said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from keyring.backend import KeyringBackend


class NotHereError(Exception):
    """This keyring does not exist on this machine, or not in this session."""


class LockedError(Exception):
    """It exists, and opening it would ask a person."""


def secret_service(*, may_prompt: bool) -> KeyringBackend:
    """Open the freedesktop Secret Service: GNOME Keyring, KeePassXC, KWallet from 5.97 on."""
    try:
        connection = secretstorage.dbus_init()
    except (secretstorage.SecretStorageException, OSError) as error:
        what = "answers" if os.environ.get("DBUS_SESSION_BUS_ADDRESS") else "is named"
        raise NotHereError(
            f"the OS keyring is not here: no D-Bus session {what} by DBUS_SESSION_BUS_ADDRESS"
        ) from error
    try:
        if not secretstorage.check_service_availability(connection):
            raise NotHereError("the OS keyring is not here: no Secret Service on the session bus")
        # By alias: `get_default_collection` makes a missing one, and that prompts.
        collection = secretstorage.get_collection_by_alias(connection, "default")
    except secretstorage.SecretStorageException as error:
        raise NotHereError("the OS keyring is not here: no default collection") from error
    if collection.collection_path.endswith("/session"):
        raise NotHereError("the OS keyring forgets everything at logout")
    if collection.is_locked() and not may_prompt:
        raise LockedError("the OS keyring is locked")
    connection.close()
    return SecretService.Keyring()  # type: ignore[no-untyped-call]  # the library's


def kwallet(*, may_prompt: bool) -> KeyringBackend:
    """Open KDE's own protocol, where dbus-python is there; not tested with a real KWallet."""
    try:
        backend: KeyringBackend = kwallets.DBusKeyring()  # type: ignore[no-untyped-call]  # the library's
        _ = kwallets.DBusKeyring.priority  # raises where there is no dbus-python or no daemon
        wallet = dbus.SessionBus().get_object(
            kwallets.DBusKeyring.bus_name, kwallets.DBusKeyring.object_path
        )
        iface = dbus.Interface(wallet, "org.kde.KWallet")
        is_open = iface.isOpen(iface.networkWallet())
    except Exception as error:  # dbus-python has no common ancestor for what it raises
        raise NotHereError("the OS keyring is not here: no KWallet on the session bus") from error
    if not is_open and not may_prompt:
        raise LockedError("the OS keyring is locked")
    return backend


def macos(*, may_prompt: bool) -> KeyringBackend:
    """Open the login keychain; macOS decides by itself whether to prompt."""
    del may_prompt
    if sys.platform == "darwin":
        return macOS.Keyring()
    raise NotHereError("this is not macOS")


BACK_ENDS: tuple[Callable[..., KeyringBackend], ...] = (
    (macos,) if sys.platform == "darwin" else (secret_service, kwallet)
)


def open_backend(*, may_prompt: bool) -> KeyringBackend:
    """Return the first allowed back end that is here; one that is locked counts as here."""
    reasons = []
    for open_one in BACK_ENDS:
        try:
            return open_one(may_prompt=may_prompt)
        except NotHereError as error:
            reasons.append(str(error))
    raise NotHereError(reasons[0])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do one request: keep (and read back), fetch or drop."""
    service, user = request["service"], request["user"]
    try:
        backend = open_backend(may_prompt=request["may_prompt"])
        if request["do"] == "drop":
            backend.delete_password(service, user)
            return {"secret": None}
        if request["do"] == "keep":
            backend.set_password(service, user, request["secret"])
        return {"secret": backend.get_password(service, user)}
    except NotHereError as error:
        return {"error": "not here", "reason": str(error)}
    except LockedError as error:
        return {"error": "locked", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a back end raises, the keyring does not answer
        return {"error": "broken", "reason": f"the OS keyring failed with {type(error).__name__}"}


def main() -> None:
    """Answer one request. `ready`, said when all is imported, starts the caller's clock."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps(answer(json.loads(sys.stdin.readline()))) + "\n")


if __name__ == "__main__":
    main()
