"""Updates of the hub and of its devices.

plan: the states and their table (PURE). journal: tasks on disk. engine: does what the plan says. windows: when it may be done (PURE).
health: whether a new version is well. sources/: who asks for updates. appliers/: what installs them.
"""
