"""Grants and tokens at rest: the table of stores. Their interface is `contract`."""

from __future__ import annotations

STORES = {"file": "brokerctl.store.file:FileStore"}
