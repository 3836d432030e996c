"""The compiled configuration as the store holds it: sealed, under a name that its layers make.

Any edit of a layer is another name, so that it counts at once. Of a large one each profile has a
part of its own.
"""

from __future__ import annotations

from brokerctl import __version__
from brokerctl.config import plan as config_plan
from brokerctl.output import note
from brokerctl.store.entry import PLAN, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.layers import Layers
    from brokerctl.config.plan import Plan
    from brokerctl.keys.ring import KeyRing
    from brokerctl.store.file import FileStore

_OF = "of"  # the part of a profile


def find_plan(
    store: FileStore,
    ring: KeyRing,
    layers: Layers,
    environ: Mapping[str, str],
    profile: str | None,
) -> Plan:
    """Return the compiled configuration.

    A large one is divided: of it the part of the profile that will be asked for is read, and any
    other part when it is asked for.
    """
    held = _HeldPlan(store, ring, layers, environ)
    if profile is None or not layers.is_large:
        return held.find_whole()
    first = held.find_part(profile)
    if first is None:
        return held.find_whole()
    parts = config_plan.Parts(first, held.find_part, held.find_whole)
    return first.replace(profiles=parts, parts=parts)


class _HeldPlan:
    """The plan of these layers as the store has it, under names that the layers make."""

    __slots__ = ("_environ", "_layers", "_names", "_ring", "_store")

    def __init__(
        self, store: FileStore, ring: KeyRing, layers: Layers, environ: Mapping[str, str]
    ) -> None:
        self._store, self._ring, self._layers, self._environ = store, ring, layers, environ
        self._names = ("plan", __version__, *layers.fingerprint_parts())

    def find_whole(self) -> Plan:
        """Return all of it, compiled if need be."""
        return self._read() or self._make()

    def find_part(self, name: str) -> Plan | None:
        """Return what the requests for one profile need; None if there is no such profile."""
        part = self._read(_OF, name)
        if part is not None:
            return part
        whole = self.find_whole()
        return self._keep(whole.part(name), _OF, name) if name in whole.profiles else None

    def _read(self, *more: str) -> Plan | None:
        sealed = self._store.find_sealed(PLAN, self._name(more))
        return config_plan.parse_plan(sealed) if sealed is not None else None

    def _make(self) -> Plan:
        from brokerctl.config.compile import compile_layers  # noqa: PLC0415 - an edit is rare

        return self._keep(compile_layers(self._layers, self._environ))

    def _name(self, more: tuple[str, ...]) -> str:
        return plain_name(self._ring.name_key, *self._names, *more)

    def _keep(self, plan: Plan, *more: str) -> Plan:
        store = self._store
        store.put_sealed(PLAN, self._name(more), config_plan.render_plan(plan))
        if store.passed_over:
            note(f"{store.passed_over}: it was made anew, being a copy of the configuration")
        return plan
