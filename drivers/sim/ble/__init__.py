"""A simulated BlueZ with peripherals around it: its D-Bus objects on a bus of its own, so that bleak's shipped back end is what runs.

Pure: payloads, profiles, peripheral, objects, adapter, world, gatt_calls, control. `bus` runs the dbus-daemon and speaks D-Bus, `server`
puts all together.
"""
