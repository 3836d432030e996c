"""AWS's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.freshness import timestamp
from brokerctl.oauth import aws_credentials
from tests.contracts.helper_contract import ANSWER, HelperContract
from tests.contracts.session_contract import AWS
from tests.flows import STS_WORDS

assert ANSWER.expires_at is not None


class TestAws(HelperContract):
    """credential_process: no request, one line of JSON, and any exit code but 0 is an error."""

    name = "aws"
    words: ClassVar[list[str]] = ["--profile", "forge"]
    request = b""
    url = None
    refusal_code = None
    token = aws_credentials.render(STS_WORDS, timestamp(ANSWER.expires_at or 0))
    always_ends = True
    config = AWS
    secret = STS_WORDS["SecretAccessKey"]
