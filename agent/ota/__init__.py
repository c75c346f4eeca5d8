"""Updates of the hub and of its devices."""
