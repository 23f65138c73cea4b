"""The description agrees with AEP's fixed ids, with botocore's service model, and with what the parts accept."""

from __future__ import annotations

import re

import botocore.session
import pytest

from headrace.aws import EndpointError, regions
from headrace.destinations.base import Limits
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.kinesis.spec import REGION_PATTERN, SPEC, STREAM_PATTERN

AUTH = {"accessKeyId": "AK", "secretKey": "SK", "region": "eu-west-1"}


def test_ids_and_names_are_those_of_the_platform() -> None:
    """What was written for AEP finds the same spec here."""
    assert (SPEC.id, SPEC.version) == ("86043421-563b-46ec-8e6c-e23184711bf6", "1.0")
    auth = SPEC.auth[0]
    assert auth.name == "Aws Kinesis authentication credentials"
    assert [p.name for p in auth.parameters if p.required] == ["accessKeyId", "secretKey", "region"]
    assert [p.name for p in auth.parameters if p.secret] == ["secretKey", "sessionToken", "proxyPassword"]
    assert [p.name for p in SPEC.target if p.required] == ["stream"]
    assert SPEC.permissions == ("kinesis:ListStreams", "kinesis:PutRecord", "kinesis:PutRecords")


def test_limits_are_those_of_the_service_model() -> None:
    """When botocore's model moves, this says so."""
    model = botocore.session.Session().get_service_model("kinesis")
    entry = model.shape_for("PutRecordsRequestEntry").members
    request = model.operation_model("PutRecords").input_shape.members
    limits = {limit.name: limit.value for limit in SPEC.limits}
    assert limits["PutRecords.Records"] == request["Records"].metadata["max"]
    assert limits["PutRecordsRequestEntry.Data"] == entry["Data"].metadata["max"]
    assert limits["PutRecordsRequestEntry.PartitionKey"] == entry["PartitionKey"].metadata["max"]
    assert limits["StreamName"] == request["StreamName"].metadata["max"]
    assert limits["MaxRecordSizeInKiB"] == model.shape_for("MaxRecordSizeInKiB").metadata["max"]
    assert limits["MaxRecordSizeInKiB.default"] == model.shape_for("MaxRecordSizeInKiB").metadata["min"]
    assert request["StreamName"].metadata["pattern"] == STREAM_PATTERN.replace(r"\-", "-").replace("{1,128}", "+")
    assert all(limit.source.endswith("2026-11-24") or "2025-10-27" in limit.source for limit in SPEC.limits)
    for name, most in (("maxRequestRecords", 500), ("maxRequestBytes", 10 * 2**20), ("maxRecordBytes", 10 * 2**20)):
        assert next(p for p in SPEC.target if p.name == name).most == most


def test_every_region_of_aws_fits_the_pattern() -> None:
    """And what is none does not."""
    assert [r for r in regions("kinesis") if not re.fullmatch(REGION_PATTERN, r)] == []
    for wrong in ("", "eu-west", "EU-WEST-1", "eu-west-1/", "eu west 1", "eu-west-1\n"):
        assert not re.fullmatch(REGION_PATTERN, wrong)


def test_the_defaults_are_what_every_endpoint_takes() -> None:
    """500 records, 5 MiB, 1 MiB, unless set otherwise."""
    assert KINESIS.writer(AUTH, {"stream": "s"}).limits == Limits(500, 5 * 2**20, 2**20, 256, 32)
    given = {"maxRequestRecords": 9, "maxRequestBytes": 70_000, "maxRecordBytes": 2_000, "maxInFlight": 3}
    assert KINESIS.writer(AUTH, {"stream": "s", **given}).limits == Limits(9, 70_000, 2_000, 256, 3)


def test_mistakes_between_parameters() -> None:
    """Regions that differ, and a record that no request holds; each with its place and what is allowed."""
    assert list(KINESIS.mistakes(AUTH, {"stream": "s", "region": "eu-west-1"})) == []
    found = KINESIS.mistakes(AUTH, {"stream": "s", "region": "us-east-1", "maxRequestBytes": 100_000})
    assert [m.place for m in found] == ["target.region", "target.maxRecordBytes"]
    assert "'eu-west-1'" in str(found[0])


def test_a_writer_is_not_built_for_an_open_wire() -> None:
    """Plain http to another machine is refused before anything connects."""
    with pytest.raises(EndpointError, match="unencrypted"):
        KINESIS.writer({**AUTH, "endpointUrl": "http://10.0.0.1"}, {"stream": "s"})
