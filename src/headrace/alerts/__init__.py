"""Alerts: rules over what the engine shows of itself, the list of those open, and the channels that tell of them."""
