"""Which paths the gateway lets through, and how an upstream gets them."""

from __future__ import annotations

import pytest

from brokerctl.session.serve.http import RequestError
from brokerctl.session.serve.target import upstream_path


@pytest.mark.parametrize(
    ("rest", "path", "query"),
    [
        ("", "", None),
        ("?a=1", "", "a=1"),
        ("/", "/", None),
        ("/v1/items/", "/v1/items/", None),
        ("/a?b=../..//%2e%2e/\\%00", "/a", "b=../..//%2e%2e/\\%00"),
        ("/projects/group%2fproject", "/projects/group%2Fproject", None),
        ("/@scope%2Fname", "/@scope%2Fname", None),
        ("/%61dmin/%7euser", "/admin/~user", None),
        ("/100%25", "/100%25", None),
        ("/a%20b%c3%a9", "/a%20b%C3%A9", None),
        ("/a...b/..c/d..;x", "/a...b/..c/d..;x", None),
        ("/a?", "/a", ""),
    ],
)
def test_a_plain_path_goes_on_in_its_normal_form(rest: str, path: str, query: str | None) -> None:
    """What everybody reads as the same path passes, spelled in one way."""
    assert upstream_path(rest) == (path, query)


@pytest.mark.parametrize(
    "rest",
    [
        *("/..", "/../x", "/a/../../b", "/./a", "/a/.", "/a/..;x/b", "/.;/b"),
        *("/%2e%2e/x", "/%2E./x", "/a/.%2e", "/%2e", "/..%2fx", "/a%2f..%2fb", "/a%2f.%2e"),
        *("//", "//evil.test/x", "/a//b", "/a/%2Fb", "/%2fb", "/a%2f%2fb"),
        *("/a%00b", "/a%0d%0ab", "/a%1f", "/%7f", "/a\\b", "/a%5cb", "/a%5C..%5c"),
        *("/%252e%252e/x", "/a%252fb", "/a%255cb", "/a%2500"),
        *("/a%", "/a%2", "/a%zz", "/a%+1", "/a% 1", "/%u002e", "/a#b", "/a?b#c"),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(rest: str) -> None:
    """Nothing leaves the prefix, and a rule sees what a server sees."""
    with pytest.raises(RequestError) as caught:
        upstream_path(rest)
    assert caught.value.status == 400
