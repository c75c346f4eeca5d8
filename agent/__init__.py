"""hub-agent: the core. It knows homes, clouds and keys; it knows no radio."""
