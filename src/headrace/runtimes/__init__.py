"""Runtimes: what drives the core between sources, state and destinations."""
