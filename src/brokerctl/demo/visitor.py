"""Plays a person's browser, and a tool that uses its token: `python -m … URL`.

With `--token VARIABLE` the URL is visited with that variable's token as Bearer (RFC 6750), and
the answer is printed.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 20


def visit(url: str, token: str | None = None) -> str:
    """Return what a GET of a loopback URL answers, redirects followed, proxies left out."""
    if not url.startswith(("http://127.0.0.1:", "http://[::1]:")):
        raise ValueError("the demo talks to loopback alone")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked above
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def main(words: list[str]) -> int:
    """Visit one URL; return the exit code."""
    token = None
    if words[:1] == ["--token"]:
        token = os.environ[words[1]]
        words = words[2:]
    answer = visit(words[0], token)
    if token is not None:
        sys.stdout.write(answer + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
