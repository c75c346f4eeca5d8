"""Bluetooth Low Energy through BlueZ: adverts and GATT devices as capabilities.

driver: the contract. settings: [radios.<name>]. session: one running connection. devices, node, window: who is taken in and what it says.
bus, bluez, requests: D-Bus and BlueZ beside bleak. scanner, links, link: bleak. keys: bindkeys. raw: GATT for gateway protocols.
Pure: adverts, bthome, bthome_table, bthome_key, beacons, formats (advertisements), gatt, gatt_table, catalog, scales (values), seen, presence,
silence, pace, material, book.
"""
