"""What a role's trust policy says of a web identity, for moto's STS, which believes any.

Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity (errors) and
IAM/latest/UserGuide/id_roles_providers_create_oidc (audience and subject as conditions):
`InvalidIdentityToken` for a token of another provider, a wrong signature or audience,
`ExpiredTokenException` for one that is over, `AccessDenied` where a condition does not hold. The
same token may be shown again.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.emulations.verify import EXPIRED, NotBelieved, Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.emulations.authority import Authority

STS_AUDIENCE = "sts.amazonaws.com"


class WebIdentities:
    """`WebIdentities([authority], subjects=["repo:octo-org@*"])`, with StringLike's wildcards."""

    def __init__(
        self,
        authorities: Iterable[Authority],
        subjects: Iterable[str],
        *,
        audience: str = STS_AUDIENCE,
    ) -> None:
        self._verifier = Verifier(authorities)
        self._subjects = tuple(subjects)
        self._audience = audience

    def refusal(self, token: str) -> str | None:
        """Return STS's code for a token that is refused, or None."""
        try:
            claims = self._verifier.verify(token, [self._audience])
        except NotBelieved as refused:
            return "ExpiredTokenException" if refused.why == EXPIRED else "InvalidIdentityToken"
        is_named = any(fnmatchcase(claims["sub"], pattern) for pattern in self._subjects)
        return None if is_named else "AccessDenied"
