"""What installs a component of a release, by its kind."""
