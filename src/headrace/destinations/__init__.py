"""Destinations: where exports go.

A new one is one folder, one registry line, one contract-test class, one docs page.
"""
