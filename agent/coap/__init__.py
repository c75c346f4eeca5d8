"""CoAP as a client, for an uplink and for the driver of devices: DTLS sessions, channels, and aiocoap's message layer between them."""
