"""brokerctl, a delegated OAuth token broker without a server."""

__version__ = "0.1.0"
