"""Go's helper keeps the contract of the room."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.contracts.helper_contract import PROFILE, HelperContract

if TYPE_CHECKING:
    from brokerctl.model import Profile


class TestGoauth(HelperContract):
    """Go: the URL is the last word, and the exit code that of the error."""

    name = "goauth"
    words: ClassVar[list[str]] = ["https://go.example.com/team/mod?go-get=1"]
    request = b""
    url = "https://go.example.com/team/mod?go-get=1"
    refusal_code = None
    profile: ClassVar[Profile] = PROFILE.replace(hosts=("https://go.example.com",))
