"""A helper in a session whose supervisor is a thread of the same process: `FILE WORD…`.

FILE has the supervisor's environment as JSON. An empty one: no supervisor answers.
"""

from __future__ import annotations

import json
import sys
import threading

from brokerctl.errors import DeniedError
from brokerctl.helpers.session_answer import answer_question
from brokerctl.helpers.session_question import HelperQuestion, SessionReply, run_words
from brokerctl.home import open_home
from brokerctl.platform.system import read_environ


def main(path: str, words: list[str]) -> int | None:
    """Run one helper."""
    with open(path, encoding="utf-8") as file:
        around = json.load(file)

    def ask(question: HelperQuestion) -> SessionReply:
        if not around:
            raise DeniedError("the session has ended")
        sent: list[SessionReply] = []
        arguments = (question, lambda: open_home(around), sent.append)
        thread = threading.Thread(target=answer_question, args=arguments)
        thread.start()
        thread.join()
        return sent[0]

    return run_words(words, read_environ(), ask)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
