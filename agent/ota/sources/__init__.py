"""Who asks for updates, and is told how they go."""
