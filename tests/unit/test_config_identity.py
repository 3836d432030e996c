"""The key `identity`: what each word of it becomes, and what is refused."""

from __future__ import annotations

import pytest

from brokerctl.config.words.exchange import identity, shown_identity
from brokerctl.errors import UsageError
from brokerctl.model import Reference


@pytest.mark.parametrize(
    "target", ["/run/login.jwt", "~/svid", "unix:///run/agent.sock", "unix:///a/b-c"]
)
def test_spiffe_is_a_file_or_a_socket(target: str) -> None:
    """A path, which may be either, or the URI of a socket; it is shown as it was written."""
    found = identity({"spiffe": target})
    assert found == Reference(kind="spiffe", target=(target,))
    assert shown_identity(found) == {"spiffe": target}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("unix://", r"must be as in unix:///run/agent.sock"),
        ("unix:///", r"must be as in unix:///run/agent.sock"),
        ("unix://host/run/agent.sock", r"must be as in unix:///run/agent.sock"),
        ("unix:////run/agent.sock", r"must be as in unix:///run/agent.sock"),
        ("unix:///run/agent%2esock", r"must be as in unix:///run/agent.sock"),
        ("unix:///run/agent.sock?x=1", r"must be as in unix:///run/agent.sock"),
        ("unix:///run/agent.sock\n", r"must be as in unix:///run/agent.sock"),
        ("unix:///run/a b", r"must be as in unix:///run/agent.sock"),
        ("unix:/run/agent.sock", "must be an absolute path or start with ~/"),
        ("tcp://127.0.0.1:8081", "must be an absolute path or start with ~/"),
        ("agent.sock", "must be an absolute path or start with ~/"),
        (True, "must be the path of the token's file"),
    ],
)
def test_what_is_neither_is_refused(target: object, text: str) -> None:
    """Among them a socket that others on the network could answer at."""
    with pytest.raises(UsageError, match=text):
        identity({"spiffe": target})


def test_a_file_of_others_is_no_socket() -> None:
    """The scheme means something to SPIFFE alone."""
    for name in ("kubernetes", "file"):
        with pytest.raises(UsageError, match="must be an absolute path"):
            identity({name: "unix:///run/agent.sock"})
