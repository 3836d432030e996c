"""Answers many requests of many helpers in one process: JSON on stdin, JSON on stdout.

Each request is `[name, words, stdin, variables]`; each answer `[stdout, exit code, stderr]`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from brokerctl.helpers import load
from brokerctl.helpers.serve import responder
from brokerctl.helpers.tool_streams import answer_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def answered(words: list[str], data: str, environ: Mapping[str, str]) -> tuple[str, int, str]:
    """Return one answer, and what was written to stderr meanwhile."""
    with tempfile.TemporaryFile() as said:
        kept, kept_out = os.dup(2), os.dup(1)
        os.dup2(said.fileno(), 2)
        os.dup2(said.fileno(), 1)  # what was delivered already is no part of the answer
        try:
            respond = responder(environ)
            answer = answer_to(load(words[0]), words, data.encode(), environ, respond)
            os.write(2, f"{answer.note}\n".encode() if answer.note else b"")
        finally:
            os.dup2(kept, 2)
            os.dup2(kept_out, 1)
            os.close(kept)
            os.close(kept_out)
        said.seek(0)
        return answer.stdout.decode(), answer.exit_code, said.read().decode()


def main() -> None:
    """Answer all."""
    environ = dict(os.environ)
    asked = json.load(sys.stdin)
    found = {name: answered(words, data, environ | more) for name, words, data, more in asked}
    sys.stdout.write(json.dumps(found))


main()
