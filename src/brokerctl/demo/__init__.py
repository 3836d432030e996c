"""The embedded issuer, and the demonstration of `brokerctl demo`; only that command imports it."""
