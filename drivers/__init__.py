"""Radio drivers: plug-ins of the hub, each folder stands alone."""
