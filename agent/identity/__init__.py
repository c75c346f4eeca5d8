"""The hub's keys and certificates."""
