"""Draws docs/demo.svg: the real program on a terminal, run against the embedded issuer.

`python scripts/picture.py` writes, `--check` only says whether it is out of date, with exit code 1.
What is shown was printed; times, tokens, ids and ports are replaced as in the papers' sessions.
"""

from __future__ import annotations

import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sessions
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = "docs/demo.svg"
COLUMNS = 90
COMMANDS = (
    "brokerctl login work  # once, by browser; the refresh token stays here",
    "brokerctl get work  # a short-lived token: decided, then recorded, then printed",
    "brokerctl exec -p work -- ./release.sh  # or for one command alone, and nowhere else",
    "(for i in {1..64}; do brokerctl get work --scope read & done; wait) | uniq -c",
    "brokerctl audit log --event grant  # 64 asked, the issuer heard one",
    "brokerctl revoke work --verify",
    "brokerctl get work",
    "brokerctl audit verify",
)
THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (201, 209, 217),
    ],
)
# Rich's own page without its fonts: a picture in a paper asks no other host for anything.
PAGE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" role="img" \
aria-label="A terminal session with brokerctl" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def draw() -> str:
    """Run the commands and return the picture."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    outputs = sessions.run(list(COMMANDS), sessions.CONFIG, columns=COLUMNS)
    for command, output in zip(COMMANDS, outputs, strict=True):
        words, comment, why = command.partition("  # ")
        prompt = Text.assemble(("$ ", "bold green"), (words, "bold"), (comment + why, "dim"))
        console.print(prompt)
        if output:
            console.print(Text.from_ansi(output.rstrip("\n")))
    svg = console.export_svg(
        title="brokerctl", theme=THEME, code_format=PAGE, unique_id="demo", clear=True
    )
    return "".join(f"{line.strip()}\n" for line in svg.splitlines() if line.strip())


def main(words: list[str]) -> int:
    """Write or check the picture; return the exit code."""
    path = os.path.join(sessions.ROOT, PICTURE)
    made = draw()
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == made:
                return 0
    if "--check" in words:
        print(f"{PICTURE} is out of date: run 'make papers'")
        return 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(made)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
