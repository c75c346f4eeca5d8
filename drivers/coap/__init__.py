"""CoAP devices on the IP network: sensors, lights and plugs that speak IPSO objects over CoAP (RFC 7252)."""
