"""cargo's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from tests.contracts.helper_contract import HelperContract


class TestCargo(HelperContract):
    """cargo: what went wrong is in the answer, and the exit code is 0."""

    name = "cargo"
    words: ClassVar[list[str]] = ["--cargo-plugin"]
    request = (
        b'{"v":1,"registry":{"index-url":"sparse+https://crates.example.com/index/",'
        b'"name":"corp"},"kind":"get","operation":"read","args":["--profile","x"]}'
    )
    url = "https://crates.example.com/index/"
    refusal_code = 0
