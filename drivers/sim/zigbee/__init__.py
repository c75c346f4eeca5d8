"""Simulated Zigbee: a pure network engine with ZNP and EZSP front ends at the wire."""
