"""Kept HTTP/1.1 connections to one host: requests with a body, one at a time on each connection.

Written for requests of half a megabyte, thousands a second: no copy of a body, no object a header. Anything rarer
(redirects, cookies, compressed answers, upgrades) is left out on purpose.

Holds always (tests/test_connections.py):
    C1  A request is written at most once, on one connection.
    C2  ``Lost.sent`` is False only when no byte of the request was written.
    C3  At most ``most`` connections are open at once; one that is broken or half read is never used again.
"""

from headrace.connections.one import Answered, Loss, Lost
from headrace.connections.pool import Connections, Proxy

__all__ = ["Answered", "Connections", "Loss", "Lost", "Proxy"]
