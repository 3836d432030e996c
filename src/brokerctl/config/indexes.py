"""The package indexes that take a job's identity for a token that may upload, in one table.

Each entry says what the index's own client does. Sources: docs.pypi.org/trusted-publishers and
pypa/gh-action-pypi-publish; crates.io/docs/trusted-publishing and rust-lang/crates-io-auth-action;
docs.npmjs.com/trusted-publishers and npm's own lib/utils/oidc.js (npm 12.2);
guides.rubygems.org/trusted-publishing and rubygems/configure-rubygems-credentials.
"""

from __future__ import annotations

from brokerctl.model import Value


class IndexTraits(Value):
    """What other rooms ask about a kind of index; its paths stand behind the index's address."""

    url: str  # where the profile names no index
    exchange_path: str  # takes the identity and gives a token
    is_for_package: bool = False  # its path goes on with the name of the one package
    identity_member: str = ""  # of the JSON object that is posted there; "": it is the bearer
    token_member: str = "token"  # of the answer
    end_member: str = ""  # of the answer: when the token ends, if the index says it
    audience_path: str = ""  # says who the identity is made out to; without it, the index's host
    audience_scheme: str = ""  # before the index's host, which has no port then
    audiences: tuple[str, ...] = ()  # that it may say, beside its own host
    revocation_path: str = ""  # ends a token by DELETE; without it, the index can't
    lifetime_s: int = 900  # as documented, where an answer names no end
    variable: str  # that the index's own tool reads the token from
    beside: tuple[tuple[str, str], ...] = ()  # what the tool needs in its environment beside it
    suffixes: tuple[str, ...] = ()  # of an address that is written as for uploads


INDEXES = {
    "python": IndexTraits(
        url="https://pypi.org",
        exchange_path="/_/oidc/mint-token",
        identity_member="token",
        end_member="expires",
        audience_path="/_/oidc/audience",
        audiences=("pypi", "testpypi"),
        variable="TWINE_PASSWORD",
        beside=(("TWINE_USERNAME", "__token__"),),
        suffixes=("/legacy",),
    ),
    "cargo": IndexTraits(
        url="https://crates.io",
        exchange_path="/api/v1/trusted_publishing/tokens",
        identity_member="jwt",
        revocation_path="/api/v1/trusted_publishing/tokens",
        lifetime_s=1800,
        variable="CARGO_REGISTRY_TOKEN",
    ),
    "npm": IndexTraits(
        url="https://registry.npmjs.org",
        exchange_path="/-/npm/v1/oidc/token/exchange/package/",
        is_for_package=True,
        end_member="expires",
        audience_scheme="npm:",
        lifetime_s=3600,
        variable="NODE_AUTH_TOKEN",
    ),
    "rubygems": IndexTraits(
        url="https://rubygems.org",
        exchange_path="/api/v1/oidc/trusted_publisher/exchange_token",
        identity_member="jwt",
        token_member="rubygems_api_key",
        end_member="expires_at",
        variable="GEM_HOST_API_KEY",
    ),
}
