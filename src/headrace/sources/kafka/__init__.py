"""A Kafka topic as a source of updates.

Only the address is read with the package; the client is imported when something connects.
"""

from headrace.sources.kafka.address import Address, parse

__all__ = ["Address", "parse"]
