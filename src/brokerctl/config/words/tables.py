"""The tables that a flow has of its own in a profile, as `aws`: each has a file beside this one.

A flow's traits name its table. What stands in it is compiled into what every profile has, so that
no other room knows of it: endpoints, client, scopes, and what else is part of the tokens' key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl.config.words import aws, azure, github_app, google, publish
from brokerctl.model import FLOWS, FlowTraits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TABLES: dict[str, Any] = {
    "aws": aws,
    "azure": azure,
    "github_app": github_app,
    "google": google,
    "publish": publish,
}
_OF_ANY_FLOW = ("google",)  # it is also for the tool of a helper
# A further key that only the flow of one table knows.
_FURTHER = {"impersonation_endpoint": "google"}
SHOWN: dict[str, Callable[[Any], Any]] = {name: words.shown for name, words in TABLES.items()}


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key of a profile that does not go with its flow and why, if one is."""
    flow = values.get("flow", "")
    traits = FLOWS.get(flow, FlowTraits())
    tables = {name: name for name in TABLES if name not in _OF_ANY_FLOW} | _FURTHER
    for name, table in tables.items():
        if name in values and table != traits.table:
            return name, f"{name} goes with the flow {_flow_of(table)} alone"
    key = values.get("client_key")
    if key is not None and key.kind == "sign" and not traits.takes_signer:
        return "client_key", f"client_key can't be a command that signs with the flow {flow}"
    if not traits.table:
        return None
    if traits.table not in values:
        return traits.table, f"{traits.table} is missing"
    words = TABLES[traits.table]
    foreign = next((one for one in values if one in words.FOREIGN), None)
    if foreign is not None:
        return foreign, f"{foreign} does not go with the flow {flow}"
    found: tuple[str, str] | None = words.find_problem(values)
    return found


def _flow_of(table: str) -> str:
    return next(name for name, traits in FLOWS.items() if traits.table == table)


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile's values with those that follow from its flow's own table."""
    traits = FLOWS.get(values.get("flow", ""), FlowTraits())
    if not traits.table:
        return dict(values)
    found: dict[str, Any] = TABLES[traits.table].expand(values)
    return found
