"""Where configuration and state lie: what platformdirs says.

It is asked where the environment is `os.environ`, which is all that it reads: by every command of
the Typer program. The warm doors read the environment as a plain dict (`read_environ`) and get the
same answers without its imports; a property test holds both to be the same.
"""

from __future__ import annotations

import sys

from brokerctl.errors import UsageError
from brokerctl.platform.system import os

SOCKET_VARIABLE = "BROKERCTL_SOCKET"  # in a session: where tokens are asked for, in place of a home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from platformdirs.api import PlatformDirsABC

SYSTEM_FILE = "/etc/brokerctl/config.toml"
PROJECT_FILE = ".brokerctl.toml"
STATE_VERSION = "v1"
# Each of them means a store that is kept, also in CI.
_KEPT = ("HOME", "KEY", "KEY_FILE", "KEEPER", "PASSPHRASE", "PASSPHRASE_FILE")
_CONFIG, _STATE = "XDG_CONFIG_HOME", "XDG_STATE_HOME"
_BELOW_HOME = {_CONFIG: ".config", _STATE: ".local/state"}
_BELOW_HOME_ON_MAC = dict.fromkeys((_CONFIG, _STATE), "Library/Application Support")
_IS_MAC = sys.platform == "darwin"


def config_file(environ: Mapping[str, str]) -> str:
    """Return the user's configuration file; `BROKERCTL_CONFIG` replaces it."""
    own = _absolute(environ, "BROKERCTL_CONFIG")
    if own is not None:
        return own
    return f"{_folder(environ, _CONFIG)}/brokerctl/config.toml"


def state_home(environ: Mapping[str, str]) -> str:
    """Return the folder of grants, tokens, locks and audit; `BROKERCTL_HOME` replaces it."""
    own = _absolute(environ, "BROKERCTL_HOME")
    if own is not None:
        return own
    return f"{_folder(environ, _STATE)}/brokerctl"


def is_job_without_store(environ: Mapping[str, str]) -> bool:
    """Return whether this is a CI job with no store of its own (contract, section 2)."""
    if not environ.get("CI") or any(environ.get(f"BROKERCTL_{name}") for name in _KEPT):
        return False
    try:
        os.stat(f"{state_home(environ)}/{STATE_VERSION}/keys/ring")
    except (FileNotFoundError, NotADirectoryError, UsageError):  # the last: no home at all
        return True
    except OSError:
        return False  # whoever uses it says what is wrong with it
    return False


def trust_file(environ: Mapping[str, str]) -> str:
    """Return the file that pins the trusted project files."""
    return f"{state_home(environ)}/{STATE_VERSION}/trust"


def home_folder(environ: Mapping[str, str]) -> str | None:
    """Return the home folder without a trailing slash, or None if HOME names none."""
    home = environ.get("HOME", "")
    return (home.rstrip("/") or "/") if home.startswith("/") else None


def expand_home(path: str, environ: Mapping[str, str]) -> str:
    """Return an absolute path for one that starts with `/` or `~/`; anything else is refused."""
    if path.startswith("~/"):
        return f"{_home(environ).rstrip('/')}/{path[2:]}"
    if not path.startswith("/"):
        raise UsageError(f"{path} must be an absolute path or start with ~/")
    return path


def _absolute(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name, "")
    if not value:
        return None
    if not value.startswith("/"):
        # Helpers are started in whatever folder their tool is in: a relative path means nothing.
        raise UsageError(f"{name} must be an absolute path")
    return value.rstrip("/") or "/"


def _folder(environ: Mapping[str, str], variable: str) -> str:
    value = environ.get(variable, "")
    is_given = value.startswith("/")  # the XDG specification: a relative one is ignored
    home = None if is_given else _home(environ)  # platformdirs would look HOME up in /etc/passwd
    if _is_of_process(environ):
        named = _platformdirs()
        asked = named.user_config_dir if variable == _CONFIG else named.user_state_dir
        return asked.rstrip("/")
    if home is None:
        return value.rstrip("/")
    return f"{home.rstrip('/')}/{(_BELOW_HOME_ON_MAC if _IS_MAC else _BELOW_HOME)[variable]}"


def _is_of_process(environ: Mapping[str, str]) -> bool:
    loaded = sys.modules.get("os")  # the warm doors do without it
    return loaded is not None and environ is loaded.environ


def _platformdirs() -> PlatformDirsABC:
    # Its own choice between its classes may fall on Android, for two variables alone.
    if _IS_MAC:
        from platformdirs.macos import MacOS  # noqa: PLC0415 - no Linux needs it

        return MacOS()
    from platformdirs.unix import Unix  # noqa: PLC0415 - no warm hand-out needs it

    return Unix()


def _home(environ: Mapping[str, str]) -> str:
    home = home_folder(environ)
    if home is None:
        raise UsageError(
            "HOME is not set to an absolute path",
            hint="set HOME, or BROKERCTL_HOME and BROKERCTL_CONFIG",
        )
    return home
