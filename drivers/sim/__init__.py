"""Simulated radios, at the wire. Production code never imports this package."""
