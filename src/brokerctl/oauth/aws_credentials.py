"""AWS's temporary credentials as the value of one token: a line of JSON with three strings.

Everything that handles a token (store, record, masking, revoke) handles them so; and the line is
what the AWS SDKs read from a `credential_process`.
"""

from __future__ import annotations

from brokerctl import jsonlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.secret import Secret

WORDS = ("AccessKeyId", "SecretAccessKey", "SessionToken")
VERSION = 1  # of the credential_process protocol: the number, not a text


def render(words: dict[str, str], expiration: str) -> str:
    """Return the value: one compact line, its keys sorted."""
    held = {name: words[name] for name in WORDS}
    return jsonlite.dumps(held | {"Expiration": expiration, "Version": VERSION}, sort=True)


def is_value(value: Secret) -> bool:
    """Return whether a value is such a line: no other token begins with a brace."""
    return value.reveal().startswith("{")


def words_of(value: Secret) -> dict[str, str]:
    """Return the three strings of a value that `render` made, by name."""
    held = jsonlite.loads(value.reveal().encode())
    return {name: held[name] for name in WORDS}
