"""AWS IoT managed integrations as the stand-in cloud has it: one file for each kind of resource. PURE but for SQLite."""
