"""Checks the environment: variables that change what brokerctl does, or that it ignores."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.errors import shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WORDS = ("CONFIG", "HOME", "KEEPER", "PROFILE", "PURPOSE", "DEBUG")
_SECRETS = ("KEY", "PASSPHRASE")
_OURS = frozenset(f"BROKERCTL_{word}" for word in _WORDS) | frozenset(
    f"BROKERCTL_{word}{new}{file}"
    for word in _SECRETS
    for new in ("", "_NEW")
    for file in ("", "_FILE")
)
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def check(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at our own variables, certificates, proxies and what is ignored."""
    yield from _own(environ)
    if environ.get("SSLKEYLOGFILE"):
        yield Finding(what="SSLKEYLOGFILE is set; brokerctl ignores it")
    certificates = environ.get("SSL_CERT_FILE")
    if certificates and not os.access(certificates, os.R_OK):
        yield Finding(
            what=f"SSL_CERT_FILE names {certificates}, which can't be read",
            state=PROBLEM,
            hint="run 'unset SSL_CERT_FILE'",
        )
    elif certificates:
        yield Finding(what=f"SSL_CERT_FILE replaces the system's certificates: {certificates}")
    proxy = next((name for name in _PROXIES if environ.get(name)), None)
    if proxy:
        yield Finding(what=f"requests to issuers go through {proxy}, loopback's do not")


def _own(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(environ):
        if name.startswith("BROKERCTL_") and name not in _OURS:
            near = difflib.get_close_matches(name, _OURS, 1)
            yield Finding(
                what=f"{name} is set and means nothing to brokerctl",
                state=WARNING,
                hint=f"run 'unset {shell_word(name)}'"
                + (f"; did you mean {near[0]}?" if near else ""),
            )
    if environ.get("BROKERCTL_KEY"):
        yield Finding(
            what="BROKERCTL_KEY is set: every process started from here can read it",
            state=WARNING,
            hint="use BROKERCTL_KEY_FILE, or a keyring with 'brokerctl store rekey --to keyring'",
        )
