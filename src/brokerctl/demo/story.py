"""The demonstration of `brokerctl demo`: all steps on an embedded issuer, each claim checked.

It shows what the installed program printed. Each claim is checked by the issuer's counts or by an
exit code.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import TYPE_CHECKING

from brokerctl.demo.stage import Stage
from brokerctl.output import is_wanted, paint

if TYPE_CHECKING:
    from brokerctl.demo.stage import Done

HERD = 64
_SHORT_S = 2
_TAMPERED = 7


class Story:
    """Runs one chapter after the other, and notes if a claim was not true."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tokens: list[str] = []
        self.is_true = True

    def tell(self) -> None:
        """Run all chapters in order."""
        say(f"An issuer of our own listens on {self.stage.issuer}; brokerctl has a profile 'demo'.")
        for chapter in (self.login, self.get, self.exec, self.herd, self.revoke, self.audit):
            chapter()

    def login(self) -> None:
        """Log in without a real browser."""
        title("Log in: the refresh token stays with brokerctl")
        done = self.show("login", "demo")
        self.claim("the login succeeded", done.code == 0)
        self.claim("the issuer traded one code", self.stage.counts() == {"authorization_code": 1})

    def get(self) -> None:
        """Get a token twice."""
        title("Get a token, twice: the second comes from the encrypted store")
        first, second = self.show("get", "demo"), self.show("get", "demo")
        self.tokens.append(first.stdout.strip())
        is_same = first.stdout == second.stdout and first.code == second.code == 0
        self.claim("both are the same, good token", is_same and self.is_active())
        self.claim("the issuer was not asked again", "refresh_token" not in self.stage.counts())

    def exec(self) -> None:
        """Run a command with a token."""
        title("Run a command with a token in its environment, and nowhere else")
        tool = [sys.executable, "-I", "-m", "brokerctl.demo.visitor", "--token", "DEMO_TOKEN"]
        done = self.show("exec", "-p", "demo", "--", *tool, f"{self.stage.issuer}/__resource")
        self.claim("the resource knew alice", done.code == 0 and '"alice"' in done.stdout)

    def herd(self) -> None:
        """Run many processes at once with an expired token."""
        title(f"{HERD} processes at once meet an expired token: one refresh, nothing lost")
        self.stage.set_lifetime(_SHORT_S)
        short = self.show("get", "demo", "--fresh")
        self.tokens.append(short.stdout.strip())
        time.sleep(_SHORT_S + 0.1)
        self.claim("it has expired", not self.is_active())
        self.stage.reset()
        say(styled(f"$ for i in $(seq {HERD}); do brokerctl get demo & done; wait", "title"))
        started = time.monotonic()
        done = self.stage.run_many(HERD, "get", "demo")
        say(f"  {HERD} answers after {time.monotonic() - started:.1f} s")
        answers = {each.stdout.strip() for each in done}
        counts = self.stage.counts()
        say(f"  the issuer counted: {counts}")
        self.tokens.extend(answers)
        all_good = all(each.code == 0 for each in done) and len(answers) == 1
        self.claim("all have the same fresh token", all_good and self.is_active())
        self.claim("the issuer saw one refresh", counts == {"refresh_token": 1})

    def revoke(self) -> None:
        """Revoke everything, and prove it."""
        title("Revoke: at the issuer, then here, proven by introspection")
        done = self.show("revoke", "demo", "--verify")
        alive = [token for token in self.tokens if self.stage.is_active(token)]
        self.claim("brokerctl says that all are dead", done.code == 0)
        self.claim("the issuer says so of every token that was handed out", not alive)
        after = self.show("get", "demo")
        self.claim("without a grant there is no token", (after.code, after.stdout) == (3, ""))

    def audit(self) -> None:
        """Edit the log."""
        title("The record: an edit of one word is found")
        whole = self.show("audit", "verify")
        self.claim("the log as it was written verifies", whole.code == 0)
        say("# somebody changes who logged in")
        self.stage.edit_log(b'"sub":"alice"', b'"sub":"mallo"')
        edited = self.show("audit", "verify")
        self.claim("the edited one does not", edited.code == _TAMPERED)

    def is_active(self) -> bool:
        """Ask the issuer about the newest token."""
        return self.stage.is_active(self.tokens[-1])

    def show(self, *words: str) -> Done:
        """Run brokerctl and show command, output and exit code."""
        say(styled(f"$ brokerctl {shlex.join(words)}", "title"))
        done = self.stage.run(*words)
        # As on a terminal: notes come before the output, and an error after it.
        told = done.stdout + done.stderr if done.code else done.stderr + done.stdout
        for line in told.splitlines():
            url, cut, _ = line.partition("&redirect_uri=")  # the rest is long, and of no use here
            say(f"  {url}&..." if cut else f"  {line}")
        if done.code:
            say(f"  (exit code {done.code})")
        return done

    def claim(self, text: str, is_so: bool) -> None:  # noqa: FBT001 - a claim and its truth
        """Print a claim, and whether it was true."""
        begin = styled("ok:", "good") if is_so else styled("NOT TRUE:", "bad")
        say(f"{begin} {text}")
        self.is_true = self.is_true and is_so


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def title(text: str) -> None:
    """Print a chapter's title."""
    say(styled(f"\n== {text}", "hint"))


def styled(text: str, style: str) -> str:
    """Return our own text, styled if stdout is a terminal."""
    return paint(text, style, is_on=is_wanted(sys.stdout.fileno()))


def tell() -> int:
    """Tell the story; return 0, or 1 if something in it was not true."""
    started = time.monotonic()
    try:
        with Stage() as stage:
            story = Story(stage)
            story.tell()
        end = "All of it was true" if story.is_true else "Not all of it was true"
        say(f"\n{end}. {time.monotonic() - started:.0f} s; nothing was left behind.")
    except BrokenPipeError:
        # The reader has gone, as with `brokerctl demo | head`: discard what is buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
        return 1
    return 0 if story.is_true else 1
