"""The load: posts updates at a steady rate over several connections, from a process of its own.

Open loop: a request goes out when it is due, whatever became of the ones before; one is under way a connection, and
where all are taken another connection is opened. Times are the machine's clock, so that other processes' compare.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import deque
from pathlib import Path
from typing import cast

import msgspec
import uvloop

AUDIENCE = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0001"
MOST_CONNECTIONS = 2000
ANSWER_BOUND_S = 20.0


class Post(msgspec.Struct, array_like=True):
    """One request: the numbers of its updates, when it was due, sent and answered, in seconds of the epoch."""

    first: int
    count: int
    due: float
    sent: float
    answered: float = 0.0


class Load(msgspec.Struct, array_like=True):
    posts: list[Post]
    connections: int
    wrong: int


def update(number: int, people: int) -> bytes:
    """About 550 bytes; always in the audience, always something new, so that each makes one export."""
    who = number * 7919 % people
    return (
        b'{"identityMap":{"ECID":[{"id":"%038d"}],"Email":[{"id":"person%d@example.test","primary":true}]},'
        b'"person":{"name":{"firstName":"Ada","lastName":"Roe%d"},"birthDate":"1990-02-%02d"},'
        b'"personalEmail":{"address":"person%d@example.test"},'
        b'"homeAddress":{"city":"Paris","countryCode":"FR","postalCode":"75%03d"},'
        b'"loyalty":{"tier":"gold","points":%d},"web":{"n":%d,"page":"/product/%d"},'
        b'"segmentMembership":{"ups":{"%b":{"status":"realized","lastQualificationTime":"2026-01-01T00:00:00Z"}}}}'
    ) % (who, who, who, who % 28 + 1, who, who % 1000, number, number, number % 97, AUDIENCE.encode())


def request(first: int, count: int, people: int) -> bytes:
    """A single update, or a batch."""
    if count == 1:
        path, body = b"/collection/bench", update(first, people)
    else:
        path = b"/collection/batch/bench"
        body = b'{"messages":[%b]}' % b",".join(update(first + index, people) for index in range(count))
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (path, len(body)) + body


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: deque[Connection]) -> None:
        self._free = free
        self._transport: asyncio.Transport | None = None
        self._post: Post | None = None
        self._got = b""
        self.wrong = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send(self, post: Post, content: bytes) -> None:
        assert self._transport is not None
        self._post = post
        post.sent = time.time()
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        assert self._post is not None
        self._post.answered = time.time()
        self.wrong += head.split(b" ", 2)[1] not in (b"200", b"207") or b'"reason"' in body
        self._post, self._got = None, b""
        self._free.append(self)


async def run(port: int, rate: float, batch: int, seconds: float, people: int, connections: int) -> Load:
    loop = asyncio.get_running_loop()
    free: deque[Connection] = deque()
    made: list[Connection] = []

    async def connect() -> Connection:
        _, connection = await loop.create_connection(lambda: Connection(free), "127.0.0.1", port)
        made.append(connection)
        return connection

    for _ in range(connections):
        free.append(await connect())
    posts: list[Post] = []
    begun = time.time() + 0.2
    gc.disable()
    for number in range(int(rate * seconds / batch)):
        content = request(number * batch, batch, people)
        due = begun + number * batch / rate
        if (wait := due - time.time()) > 0:
            await asyncio.sleep(wait)
        if not free:
            if len(made) >= MOST_CONNECTIONS:
                raise SystemExit(f"{MOST_CONNECTIONS} requests are under way: the rate is over what is taken")
            free.append(await connect())
        post = Post(number * batch, batch, due, 0.0)
        posts.append(post)
        free.popleft().send(post, content)
    end = time.time() + ANSWER_BOUND_S
    while len(free) < len(made) and time.time() < end:
        await asyncio.sleep(0.01)
    return Load(posts, len(made), sum(c.wrong for c in made) + sum(not post.answered for post in posts))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    load = uvloop.run(
        run(options.port, options.rate, options.batch, options.seconds, options.people, options.connections)
    )
    options.file.write_bytes(msgspec.msgpack.encode(load))


if __name__ == "__main__":
    main()
