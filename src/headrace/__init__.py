"""Headrace streams the profiles of chosen audiences to Amazon Kinesis Data Streams as JSON, in real time."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
