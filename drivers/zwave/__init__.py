"""Z-Wave on our own Serial API host.

Pure, and shared with the simulated stick: frame (bytes of the serial line), session (the host's link), layout (declared wire formats),
functions (the Serial API), codec and commands (command classes), security (S0, S2, key exchange), transport_service, encapsulation
and supervision (what lies around a command), firmware (its fragments).
"""
