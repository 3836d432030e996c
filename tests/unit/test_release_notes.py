"""What a release says of itself is cut out of the changelog, and is never empty."""

from __future__ import annotations

import pytest

from scripts.release_notes import cut

CHANGELOG = """# Changelog

The form is that of [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).

## [Unreleased]

- Something to come.

## [1.1.0] - 2026-03-01

### Security

- `## [1.0.0] - not a heading`: inside a line.

### Added

- One, [see](https://example.com).

## [1.1.0rc1] - 2026-02-01

## [1.0.0]

- Without a date.

## [0.9.0] - 2026-01-05

- The last one.

[1.1.0]: https://example.com/compare/1
[0.9.0]: https://example.com/compare/0
"""


def test_a_section_is_cut_out_whole() -> None:
    """From below its heading to the next version, its own headings included."""
    notes = cut(CHANGELOG, "1.1.0")
    assert notes.startswith("### Security\n\n- `## [1.0.0]")
    assert notes.endswith("\n- One, [see](https://example.com).\n")
    assert "to come" not in notes


def test_the_last_section_has_no_link_definitions() -> None:
    """What Keep a Changelog puts at the file's end belongs to no version."""
    assert cut(CHANGELOG, "0.9.0") == "- The last one.\n"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("2.0.0", "no section"),
        ("1.1", "no section"),
        ("1.0.0", "no date"),
        ("Unreleased", "no date"),
        ("1.1.0rc1", "empty"),
    ],
)
def test_what_is_not_told_is_not_released(version: str, why: str) -> None:
    """No section, no date or no line is an error that names the version."""
    with pytest.raises(LookupError, match=why) as refused:
        cut(CHANGELOG, version)
    assert version in str(refused.value)
