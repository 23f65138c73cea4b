"""The Amazon Kinesis destination.

Only the description is loaded with the package; what connects is imported when something connects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.destinations.base import Check, Limits, Permission, Places
from headrace.destinations.kinesis.spec import SPEC
from headrace.errors import Mistake, RefusedError
from headrace.kinesis import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.destinations.base import Spec, Writer

__all__ = ["KINESIS", "KinesisDestination"]


class KinesisDestination:
    """Amazon Kinesis Data Streams. See ``Destination`` for the contract."""

    spec: Spec = SPEC

    def mistakes(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Sequence[Mistake]:
        """What is wrong between the parameters, beyond what the spec says of each; places begin at auth or target."""
        found = list(connection.mistakes(auth))
        region = auth.get("region")
        if target.get("region") not in (None, "", region):
            found.append(
                Mistake(
                    "target.region", f"differs from the connection's region {region!r}", f"{region!r}, or nothing"
                )
            )
        limits = _limits(target)
        if limits.record_bytes > limits.request_bytes:
            found.append(
                Mistake(
                    "target.maxRecordBytes",
                    f"{limits.record_bytes} is over what a request may hold",
                    f"at most maxRequestBytes, {limits.request_bytes}",
                )
            )
        return found

    def place(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> str:
        """See ``Destination``: the stream, in its region, at its endpoint."""
        return "\0".join(str(part) for part in (auth.get("region"), auth.get("endpointUrl"), target.get("stream")))

    def writer(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Writer:
        """Build a writer. See ``Destination``.

        Raises:
            EndpointError: The region or the endpoint URL cannot be used.
            RouteError: The proxy of the environment cannot be used.
        """
        from headrace.destinations.kinesis.writer import KinesisWriter

        return KinesisWriter(
            target["stream"],
            connection.connect(auth),
            limits=_limits(target),
            timeout_s=_number(target, "timeoutMs") / 1000,
            encoding=target.get("encoding") or "json",
            compression=target.get("compression") or "none",
            aggregation=target.get("aggregation") or "none",
        )

    async def check(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Check:
        """Try the connection and its three permissions; nothing is written. See ``Destination``."""
        from headrace.destinations.kinesis.check import check

        problems = [str(mistake) for mistake in self.mistakes(auth, target)]
        try:
            found = connection.connect(auth)
        except RefusedError as error:
            untried = [Permission(each, "unknown", "not tried") for each in SPEC.permissions]
            return Check(untried, problems or [str(error)])
        return await check(target["stream"], found, problems=problems)

    async def places(self, auth: Mapping[str, Any]) -> Places:
        """See ``Lists``: the account's streams."""
        from headrace.destinations.kinesis.check import places

        try:
            found = connection.connect(auth)
        except RefusedError as error:
            return Places(complete=False, problem=str(error))
        return await places(found)


_DEFAULTS: Final = {parameter.name: parameter.default for parameter in SPEC.target}


def _number(target: Mapping[str, Any], name: str) -> int:
    value = target.get(name)
    return int(_DEFAULTS[name] if value is None else value)


def _limits(target: Mapping[str, Any]) -> Limits:
    return Limits(
        records=_number(target, "maxRequestRecords"),
        request_bytes=_number(target, "maxRequestBytes"),
        record_bytes=_number(target, "maxRecordBytes"),
        in_flight=_number(target, "maxInFlight"),
    )


KINESIS: Final = KinesisDestination()
"""The destination, for the registry."""
