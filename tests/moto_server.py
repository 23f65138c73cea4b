"""moto's server, with Kinesis permissions judged per stream.

moto asks every policy about the resource "*", so that a statement about a stream's ARN never applies. AWS judges
PutRecord and PutRecords on the stream and ListStreams on nothing (service authorization reference of Amazon
Kinesis Data Streams); moto lets a service say so by this very hook, and has none for Kinesis.
"""

from __future__ import annotations

from moto.kinesis.responses import KinesisResponse
from moto.server import main


def _determine_resource(response: KinesisResponse) -> str:
    name = response._get_param("StreamName")
    if not name:
        return "*"
    return f"arn:aws:kinesis:{response.region}:{response.current_account}:stream/{name}"


if __name__ == "__main__":
    setattr(KinesisResponse, "_determine_resource", _determine_resource)  # noqa: B010 (moto does not declare it)
    main()
