"""An issuer that knows ways to give less than a grant holds, each with a habit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl.oauth.flows.sources import TOKEN_EXCHANGE
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.tokens import ACCESS_TOKEN
from brokerctl.platform.system import SYSTEM
from tests.flows import form_of
from tests.issuer_room import PERSON, URL, House, Issuer

if TYPE_CHECKING:
    from brokerctl.model import Profile
    from brokerctl.oauth.message import HttpRequest
    from brokerctl.platform.system import System

NARROWS, IGNORES, SILENT = "narrows", "ignores", "silent"
WHOLE = " ".join(PERSON.scopes)


class NarrowingIssuer(Issuer):
    """`exchange` and `refresh` are what it does with fewer scopes.

    NARROWS: as asked; IGNORES: all scopes; SILENT: as asked, and says no scope. `exchange` may also
    be the code with which it refuses, or the status of a page without one. What it exchanges has a
    grant of its own: `aN-xG`.
    """

    def __init__(self, exchange: str | int = NARROWS, refresh: str = NARROWS) -> None:
        super().__init__()
        self.exchange, self.refresh = exchange, refresh
        self.knows_exchange = True
        self.more: dict[str, Any] = {}  # of the answers to an exchange
        self.forms: list[dict[str, str]] = []  # of the requests to its token endpoint

    def _metadata(self) -> dict[str, Any]:  # type: ignore[override]  # the other says less
        grants = ["authorization_code", "refresh_token"]
        known = [*grants, TOKEN_EXCHANGE] if self.knows_exchange else grants
        return {**super()._metadata(), "grant_types_supported": known}

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer one request."""
        if request.url == f"{URL}/token":
            self.forms.append({name: values[0] for name, values in form_of(request).items()})
        return super().send(request, deadline)

    def asked(self) -> list[str]:
        """Return the grant types that the token endpoint was asked for, and forget them."""
        found = ["exchange" if "subject_token" in form else "refresh" for form in self.forms]
        self.forms.clear()
        return found

    def _token(self, value: str) -> HttpResponse:
        if value == TOKEN_EXCHANGE:
            return self._exchange(self.forms[-1])
        return super()._token(value)

    def _body(self, value: str) -> dict[str, Any]:
        return super()._body(value) | self._said(self.refresh)

    def _said(self, habit: str) -> dict[str, str]:
        asked = self.forms[-1].get("scope", WHOLE) if self.forms else WHOLE
        return {} if habit == SILENT else {"scope": WHOLE if habit == IGNORES else asked}

    def _exchange(self, form: dict[str, str]) -> HttpResponse:
        subject = form["subject_token"]
        if isinstance(self.exchange, int):
            return HttpResponse(status=self.exchange, body=b"<html>no</html>")
        if self.exchange not in {NARROWS, IGNORES, SILENT}:
            return self._answer(400, {"error": self.exchange})
        if subject not in self.alive:
            return self._answer(400, {"error": "invalid_request"})
        body = super()._body(self.issue(f"x{subject.partition('-')[2]}", "a"))
        body |= {"issued_token_type": ACCESS_TOKEN} | self._said(self.exchange) | self.more
        if isinstance(body.get("refresh_token"), str):
            self.alive.add(body["refresh_token"])
        return self._answer(200, body)


class NarrowingHouse(House):
    """A person who has logged in at such an issuer, where `issuer` is the issuer that it is."""

    issuer: NarrowingIssuer

    def __init__(
        self, folder: str, issuer: NarrowingIssuer, *profiles: Profile, system: System = SYSTEM
    ) -> None:
        super().__init__(folder, *(profiles or (PERSON,)), system=system)
        self.issuer = issuer
        self.log_in()
        self.issuer.sent.clear()

    def narrow(self, *scopes: str, **fields: Any) -> str:  # noqa: ANN401 - of TokenRequest
        """Get a token for fewer scopes, `read` unless said; return its value."""
        return self.get(scopes=scopes or ("read",), **fields).value.reveal()
