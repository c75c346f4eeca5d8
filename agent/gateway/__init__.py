"""BLE devices through nRF Cloud: the gateway protocol carried out on a radio that speaks raw GATT.

agent.cloud.nrf_gateway has the messages and does no I/O; `gateway` is the whole, `operations` one operation on one device, `scans` the scans,
`peers` the devices that the account wants connected, `outlet` the way of events to the cloud.
"""
