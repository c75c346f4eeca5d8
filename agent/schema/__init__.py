"""Data of the core: numbered SQL of the store, and capability schema documents."""
