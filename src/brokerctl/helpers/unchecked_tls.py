"""How each tool is told to check no certificate, as far as that can be seen from here: one table.

Security: whoever stands between such a tool and its server reads the token. What cannot be seen,
the options on a tool's own command line before all, is on the tool's page.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from brokerctl.helpers import CredentialRequest

    Test = Callable[[str, str], bool]  # of a variable's value and the URL that is asked for

_HTTPS = "https://"
_GIT = ()  # GIT_SSL_NO_VERIFY, and files, in git/config


def is_empty(value: str, _url: str) -> bool:
    """Return whether it holds nothing, which means no file of roots to some."""
    return not value


def is_true(value: str, _url: str) -> bool:
    """Return whether it holds anything but a word for no."""
    return value.lower() not in {"", "0", "f", "false", "n", "no", "off"}


def is_false(value: str, _url: str) -> bool:
    """Return whether it holds a word for no."""
    return value.lower() in {"0", "f", "false", "n", "no", "off", "null"}


def is_no(value: str, url: str) -> bool:
    """Return whether it holds a word for no, or nothing, as npm hands "no" down to what it runs."""
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
# requests before 2.28 takes an empty one for "do not check".
_REQUESTS = (("CURL_CA_BUNDLE", is_empty), ("REQUESTS_CA_BUNDLE", is_empty))
# A variable, whose `*` stands for what the tool puts there, and whether its value means it.
VARIABLES: dict[str, tuple[tuple[str, Test], ...]] = {
    "askpass": _GIT,
    "aws": (),  # SDKs sign with the secret key and do not send it
    "bazel": (),  # Bazel has no such option
    "cargo": (),  # nor has cargo
    "docker": (),  # files, in docker/tls_files
    "gcp": (_NODE, *_REQUESTS, ("CLOUDSDK_AUTH_DISABLE_SSL_VALIDATION", is_true)),
    "git": _GIT,
    "goauth": (),  # GOINSECURE, in goauth: its globs are of modules
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
    "terraform": (),  # it has no such option for what its helper is asked about
    "vault": (("BAO_SKIP_VERIFY", is_true), ("VAULT_SKIP_VERIFY", is_true)),
}


def find_variable(tool: str, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable by which a tool checks no certificate of this server, if there is one."""
    url = wanted.url or ""
    if url and not url.startswith(_HTTPS):
        return None  # there is none to check: plain http is for loopback
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
    """Return whether a word is in a line that is no comment."""
    lines = (line.strip().lower() for line in data.split(b"\n"))
    return any(mark in line and line[:1] not in {b"#", b";"} for line in lines)


def config_folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder of the user's own configuration (XDG base directories)."""
    home = environ.get("HOME")
    return environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)


def is_off(test: Test, data: bytes, url: str) -> bool:
    """Return what a test says of a file; what a tool could not read, with that word in it, is."""
    try:
        return test(data.decode("utf-8", "replace"), url)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return True


def read_toml_text(text: str) -> dict[str, Any]:
    """Return what a file's text says in TOML; ValueError for what is none."""
    import tomllib  # noqa: PLC0415 - hardly anybody has one

    return tomllib.loads(text)
