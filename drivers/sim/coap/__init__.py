"""Simulated CoAP devices on loopback: aiocoap's message layer, a server of our own above it, DTLS and OSCORE where the home file says so."""
