"""A simulated Z-Wave stick (Serial API) and the nodes behind it."""
