"""Z-Wave on our own Serial API host.

Pure: frame (bytes of the serial line), session (the host's link), layout (declared wire formats), functions (Serial API), codec and
commands (command classes), encapsulation, security. Both ends of every message are declared once, so the simulated stick shares them.
"""
