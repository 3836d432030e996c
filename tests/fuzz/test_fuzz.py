"""Every border where bytes of somebody else become values: an answer, or an error of our tree.

`make test` tries a few inputs at each, `make test-long` as many as FUZZ_MINUTES (10) have room for,
shared out evenly; with FUZZ_LOG=FILE it writes there how many they were.
"""

from __future__ import annotations

import pytest

from tests.fuzz import of_audit, of_config, of_helpers, of_oauth, of_store, of_words
from tests.fuzz.driving import MINUTES, try_few, try_long

TARGETS = {
    **of_config.TARGETS,
    **of_oauth.TARGETS,
    **of_store.TARGETS,
    **of_audit.TARGETS,
    **of_words.TARGETS,
    **of_helpers.TARGETS,
}
SHARE_S = 60 * MINUTES / len(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_odd_inputs_are_read_or_refused(name: str) -> None:
    """No exception but those of our own tree comes out, and what a refusal says is something."""
    try_few(TARGETS[name])


@pytest.mark.long
@pytest.mark.timeout(4 * SHARE_S + 600)
@pytest.mark.parametrize("name", TARGETS)
def test_no_odd_input_is_anything_but_read_or_refused(name: str) -> None:
    """As above, for as long as there is time: each round has other inputs."""
    assert try_long(name, TARGETS[name], SHARE_S) > 0
