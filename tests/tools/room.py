"""Small things that the tests of real tools say again and again."""

from __future__ import annotations

import os


def hosts(*urls: str) -> str:
    """Return a profile's hosts as TOML."""
    return f"[{', '.join(f'{chr(34)}{url}{chr(34)}' for url in urls)}]"


def read(path: str) -> bytes | None:
    """Return a file's bytes; None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path: str, data: bytes | None) -> None:
    """Write a file, if there is to be one."""
    if data is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
