"""A real session bus with a real gnome-keyring in a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Self

from tests.program import require_tool

_PASSWORD = "the login password"
_SCRIPT = """
import sys
import secretstorage
connection = secretstorage.dbus_init()
collection = secretstorage.get_collection_by_alias(connection, "default")
getattr(collection, sys.argv[1])()
"""


class SecretService:
    """Starts both daemons; `environ` is what a program in that desktop session sees."""

    def __init__(self) -> None:
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environ: dict[str, str] = {}

    def __enter__(self) -> Self:
        bus = require_tool("dbus-daemon")
        keyring = require_tool("gnome-keyring-daemon")
        self.home = tempfile.mkdtemp(prefix="desktop-")
        address = f"unix:path={self.home}/bus"
        self.environ = {
            "HOME": self.home,
            "XDG_RUNTIME_DIR": self.home,
            "XDG_DATA_HOME": f"{self.home}/data",
            "PATH": os.environ["PATH"],
            "DBUS_SESSION_BUS_ADDRESS": address,
        }
        listen = ["--session", "--nofork", "--print-address=1", f"--address={address}"]
        try:
            self._start([bus, *listen])
            self._start(
                [keyring, "--foreground", "--unlock", "--components=secrets"], _PASSWORD.encode()
            )
            self._wait_for_the_collection()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_the_collection(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.call("get_label")
            except subprocess.CalledProcessError:
                assert time.monotonic() < deadline, "gnome-keyring has no default collection"
                time.sleep(0.05)
            else:
                return

    def _start(self, words: list[str], typed: bytes = b"") -> None:
        daemon = subprocess.Popen(
            words,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._daemons.append(daemon)
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdin.write(typed)
        daemon.stdin.close()
        if not typed:
            assert daemon.stdout.readline(), "the bus says where it listens when it is ready"

    def call(self, method: str) -> None:
        """Do something to the default collection: `lock`."""
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, method],
            env=self.environ,
            check=True,
            timeout=20,
            stderr=subprocess.DEVNULL,
        )

    def stop(self, *, signal: int) -> None:
        """Send a signal to the keyring's daemon."""
        self._daemons[-1].send_signal(signal)

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()
            assert daemon.stdout is not None
            daemon.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)
