"""A Kinesis stream as a source of updates.

Only the address is read with the package; what connects is imported when something connects.
"""

from headrace.sources.kinesis.address import Address, parse

__all__ = ["Address", "parse"]
