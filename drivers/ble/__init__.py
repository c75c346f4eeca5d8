"""Bluetooth Low Energy through BlueZ: adverts and GATT devices as capabilities.

Pure: `adverts`, `scales`, `bthome`, `beacons`, `catalog*`, `gatt*`, `seen`, `silence`, `pace`, `material`. bleak and D-Bus: `bus`, `bluez`,
`scanner`, `clients`. `session` puts them together, `driver` is the contract.
"""
