"""Answers for benchmarks: PutRecords is counted by scanning its bytes and answered from prepared parts.

Nothing is decoded, checked or kept; one shard takes everything. Sequence numbers still grow with
every record and every request, and a share of the records can be refused, so a client does all the
work that a real answer asks of it.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec

from headrace.testing import cbor
from headrace.testing.refusals import MESSAGES, shard_throttle
from headrace.testing.service import CBOR

_SHARD: Final = "shardId-000000000000"
_REQUEST: Final = b"~" * 20
"""Stands for the request's number in prepared parts; one replacement fills a whole answer."""

_KEYS: Final = {False: b'"PartitionKey"', True: b"\x6cPartitionKey"}
"""What occurs once per record. In JSON it cannot occur in anything else: data is base64, and quotes
in keys are escaped. In CBOR data could hold it, with a chance that benchmarks can live with."""


class FastAnswers:
    """Prepared answers for one stream.

    Args:
        stream: Name and account go into the words of refusals only.
        account: See *stream*.
        rate: Share of records that are refused.
        seed: Of that share.
        throttled: They are refused for their shard's rate; else with InternalFailure.

    Attributes:
        requests: PutRecords answered.
        records: Records in them.
        failed: Records refused.
    """

    def __init__(
        self, *, stream: str, account: str, rate: float = 0.0, seed: int = 0, throttled: bool = True
    ) -> None:
        self.requests = self.records = self.failed = 0
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 - repeatable chances are the point
        self._refusal = {"ErrorCode": "InternalFailure", "ErrorMessage": MESSAGES["InternalFailure"]}
        if throttled:
            words = shard_throttle(shard=_SHARD, stream=stream, account=account)
            self._refusal = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": words}
        self._taken: dict[bool, list[bytes]] = {False: [], True: []}
        self._refused = {False: self._part(in_cbor=False, index=None), True: self._part(in_cbor=True, index=None)}
        self._whole: dict[tuple[bool, int], bytes] = {}

    def _part(self, *, in_cbor: bool, index: int | None) -> bytes:
        if index is None:
            answer = self._refusal
        else:
            answer = {"SequenceNumber": f"4966{'0' * 26}{_REQUEST.decode()}{index:06d}", "ShardId": _SHARD}
        return cbor.encode(answer) if in_cbor else msgspec.json.encode(answer)

    def answer(self, buffer: bytearray, start: int, end: int, media: str) -> bytes:
        """Answer the PutRecords whose body is ``buffer[start:end]``."""
        in_cbor = media == CBOR
        count = buffer.count(_KEYS[in_cbor], start, end)
        self.requests += 1
        self.records += count
        number = f"{self.requests:020d}".encode()
        if self._rate:
            return self._mixed(count, in_cbor=in_cbor).replace(_REQUEST, number)
        whole = self._whole.get((in_cbor, count))
        if whole is None:
            whole = self._whole[in_cbor, count] = self._assemble(
                self._parts(count, in_cbor=in_cbor), 0, in_cbor=in_cbor
            )
        return whole.replace(_REQUEST, number)

    def _parts(self, count: int, *, in_cbor: bool) -> list[bytes]:
        taken = self._taken[in_cbor]
        while len(taken) < count:
            taken.append(self._part(in_cbor=in_cbor, index=len(taken)))
        return taken[:count]

    def _mixed(self, count: int, *, in_cbor: bool) -> bytes:
        parts = self._parts(count, in_cbor=in_cbor)
        draw, rate, refused = self._random.random, self._rate, self._refused[in_cbor]
        failed = 0
        for index in range(count):
            if draw() < rate:
                parts[index] = refused
                failed += 1
        self.failed += failed
        return self._assemble(parts, failed, in_cbor=in_cbor)

    @staticmethod
    def _assemble(parts: list[bytes], failed: int, *, in_cbor: bool) -> bytes:
        if not in_cbor:
            return b'{"FailedRecordCount":%d,"Records":[%b]}' % (failed, b",".join(parts))
        head = b"\xa2" + cbor.encode("FailedRecordCount") + cbor.encode(failed) + cbor.encode("Records")
        return head + cbor.array_head(len(parts)) + b"".join(parts)
