"""Google's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract
from tests.contracts.session_contract import PLAIN, POOL

ENVIRON = {
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": POOL,
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
    "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_REVOKE": "0",
}
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


class TestGcp(HelperContract):
    """No request but the environment, and exit code 0 whatever happens."""

    name = "gcp"
    words: ClassVar[list[str]] = ["--profile", "forge"]
    request = b""
    url = None
    refusal_code = 0
    environ: ClassVar[dict[str, str]] = ENVIRON
    token = JWT
    config = f'{PLAIN}google = {{ pool = "{POOL}" }}\n'
