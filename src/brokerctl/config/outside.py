"""Which secrets of the profiles lie where no backup of ours reaches: names, never a value."""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.model import Profile

_TOLD = {
    "env": "the variable {}",
    "file": "the file {}",
    "keyring": "{} of the OS keyring",
    "store": "the stored secret '{}', which is not there",
    "command": "what {} prints",
}


class Outside(Value):
    """One secret that is named and not in an archive, and by whom it is named."""

    kind: str  # env | file | keyring | command | store: named, and never stored
    name: str  # of a command its program alone: its words may say too much
    profiles: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_TOLD[self.kind].format(self.name)} ({', '.join(self.profiles)})"


def find_outside(
    profiles: Iterable[Profile], is_stored: Callable[[str], bool]
) -> tuple[Outside, ...]:
    """Return what another machine needs beside an archive, by kind and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for profile in profiles:
        for reference in (profile.client_secret, profile.client_key):
            if reference is None:
                continue
            kind, name = reference.kind, reference.target[0]
            if kind != "store" or not is_stored(name):
                names = found.setdefault((kind, name), [])
                names += [profile.name] if profile.name not in names else []
    return tuple(
        Outside(kind=kind, name=name, profiles=tuple(sorted(names)))
        for (kind, name), names in sorted(found.items())
    )
