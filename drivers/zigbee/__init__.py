"""Zigbee on zigpy, with TI (ZNP) and Silicon Labs (EZSP) coordinators.

driver: the contract. settings: [radios.<name>]. session: one running connection. radio: zigpy's controller, as a hub wants it.
join: windows. interview: bindings and reporting. node: one device's events. commands: actions.
Pure: installcode, availability, nodes, catalogue.
"""
