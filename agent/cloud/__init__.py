"""Uplinks: paho on the asyncio loop, the drain of the outbox, and pure mappings of each dialect."""
