"""The variables by which each tool is told not to check certificates: one table.

Security: an attacker between such a tool and its server could read the token. What can't be seen
from here, above all the options on the tool's command line, is named on the tool's page in docs/.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from brokerctl.helpers import CredentialRequest

    Test = Callable[[str, str], bool]  # of a variable's value and the URL that is asked for

_HTTPS = "https://"
_GIT = ()  # GIT_SSL_NO_VERIFY and files: see helpers/git


def is_empty(value: str, _url: str) -> bool:
    """Return whether the value is empty: some tools take that for "no CA file"."""
    return not value


def is_true(value: str, _url: str) -> bool:
    """Return whether the value is anything but a word for no."""
    return value.lower() not in {"", "0", "f", "false", "n", "no", "off"}


def is_false(value: str, _url: str) -> bool:
    """Return whether the value is a word for no."""
    return value.lower() in {"0", "f", "false", "n", "no", "off", "null"}


def is_no(value: str, url: str) -> bool:
    """Return whether the value is a word for no, or empty: npm passes "no" to its children so."""
    return not value or is_false(value, url)


def names_host(value: str, url: str) -> bool:
    """Return whether the URL's host is in a list of hosts, `host`, `host:port` or with a scheme."""
    host, port = split_host(url)
    for text in value.replace(",", " ").split():
        name, number = split_host(text if "://" in text else f"{_HTTPS}{text}", default="")
        if (name == host and number in {"", port}) or name == "*":
            return True
    return False


def split_host(url: str, default: str = "443") -> tuple[str, str]:
    """Return the host of a URL and its port."""
    scheme, _, rest = url.lower().partition("://")
    authority = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, "80" if scheme == "http" and default else default
    return host, port


_NODE = ("NODE_TLS_REJECT_UNAUTHORIZED", is_false)
# The library requests before 2.28 takes an empty value for "do not check".
_REQUESTS = (("CURL_CA_BUNDLE", is_empty), ("REQUESTS_CA_BUNDLE", is_empty))
# By tool: variables (`*` stands for what the tool inserts), each with the test of its value.
VARIABLES: dict[str, tuple[tuple[str, Test], ...]] = {
    "askpass": _GIT,
    "aws": (),  # SDKs sign with the secret key and do not send it
    "bazel": (),  # Bazel has no such option
    "cargo": (),  # nor has cargo
    "docker": (),  # files: see helpers/docker/tls_files.py
    "gcp": (_NODE, *_REQUESTS, ("CLOUDSDK_AUTH_DISABLE_SSL_VALIDATION", is_true)),
    "git": _GIT,
    "goauth": (),  # GOINSECURE: see helpers/goauth, its globs are of modules
    "keyring": (
        *_REQUESTS,
        ("PIP_TRUSTED_HOST", names_host),
        ("POETRY_CERTIFICATES_*_CERT", is_false),
        ("UV_INSECURE_HOST", names_host),
    ),
    "kubernetes": (),  # its request says it
    "pnpm": (
        _NODE,
        ("NPM_CONFIG_STRICT_SSL", is_no),
        ("PNPM_CONFIG_STRICT_SSL", is_no),
        ("npm_config_strict_ssl", is_no),
        ("pnpm_config_strict_ssl", is_no),
    ),
    "terraform": (),  # no such option for the hosts of its helper
    "vault": (("BAO_SKIP_VERIFY", is_true), ("VAULT_SKIP_VERIFY", is_true)),
}


def find_variable(tool: str, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable by which a tool checks no certificate of this server, if there is one."""
    url = wanted.url or ""
    if url and not url.startswith(_HTTPS):
        return None  # no certificate: plain http is allowed on loopback only
    for pattern, test in VARIABLES.get(tool, ()):
        for name in _names(pattern, environ):
            if test(environ[name], url):
                return name
    return None


def _names(pattern: str, environ: Mapping[str, str]) -> list[str]:
    start, star, end = pattern.partition("*")
    if not star:
        return [pattern] if pattern in environ else []
    return [name for name in environ if name.startswith(start) and name.endswith(end)]


def is_said(data: bytes, mark: bytes) -> bool:
    """Return whether a word stands in a line that is not a comment."""
    lines = (line.strip().lower() for line in data.split(b"\n"))
    return any(mark in line and line[:1] not in {b"#", b";"} for line in lines)


def config_folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder of the user's own configuration (XDG base directories)."""
    home = environ.get("HOME")
    return environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)


def is_off(test: Test, data: bytes, url: str) -> bool:
    """Return a test's result for a file; True if it can't be parsed, since the word is in it."""
    try:
        return test(data.decode("utf-8", "replace"), url)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return True


def read_toml_text(text: str) -> dict[str, Any]:
    """Return what a text says; ValueError if it is not TOML."""
    import tomllib  # noqa: PLC0415 - hardly anybody has one

    return tomllib.loads(text)
