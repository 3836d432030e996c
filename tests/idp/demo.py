"""The demo issuer with the harness's face: the same tests run against both.

As a program it is `python -m brokerctl.demo.serve` with `--record=FILE`, which notes each secret
for the canary test.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import parse_qsl

KINDS = ("access_token", "refresh_token", "code_verifier", "device_code", "client_secret")


def record(path: str) -> None:
    """Let the issuer of this process note what it is sent and what it answers."""
    from brokerctl.demo import serve  # noqa: PLC0415 - only when run as a program

    def note(fields: dict[str, Any]) -> None:
        found = {kind: fields[kind] for kind in KINDS if isinstance(fields.get(kind), str)}
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"kind": kind, "value": value}) + "\n" for kind, value in found.items()
            )

    class Recording(serve.Handler):
        """Notes both directions."""

        def _answer(self, body: str) -> None:
            note(dict(parse_qsl(body)))
            super()._answer(body)

        def _send(self, reply: Any) -> None:  # noqa: ANN401 - the issuer's own type
            try:
                note(json.loads(reply.body) if reply else {})
            except (ValueError, AttributeError):
                pass  # a page, not an answer
            super()._send(reply)

    class Noting(serve.Server):
        """Notes its clients' secrets too."""

        def ready_line(self) -> str:
            line = super().ready_line()
            for secret in json.loads(line)["clients"].values():
                note({"client_secret": secret})
            return line

    serve.Handler, serve.Server = Recording, Noting  # type: ignore[misc]  # what `serve` looks up


def main(words: list[str]) -> int:
    """Serve until stdin is closed."""
    from brokerctl.demo import serve  # noqa: PLC0415 - as above

    paths = [word.removeprefix("--record=") for word in words if word.startswith("--record=")]
    if paths:
        record(paths[0])
    return serve.main([word for word in words if not word.startswith("--record=")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
