"""Endpoints are botocore's, and a custom one is never an open wire to another machine."""

from __future__ import annotations

import re

import boto3
import pytest
from botocore.config import Config

from headrace.aws import ENDPOINT_PATTERN, EndpointError, endpoint_for, regions


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "eu-west-9"])
def test_a_region_has_the_endpoint_that_boto3_uses(region: str) -> None:
    """Also a region that came to be after botocore's data."""
    client = boto3.client("kinesis", region_name=region, aws_access_key_id="a", aws_secret_access_key="b")
    found = endpoint_for("kinesis", region)
    assert found.url == client.meta.endpoint_url + "/"
    assert found.host == client.meta.endpoint_url.removeprefix("https://")
    assert found.partition == client.meta.partition
    assert not found.custom


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "us-gov-west-1", "ca-central-1", "cn-north-1"])
@pytest.mark.parametrize(("fips", "dual_stack"), [(True, False), (False, True), (True, True)])
def test_fips_and_dual_stack_endpoints_are_those_of_boto3(region: str, fips: bool, dual_stack: bool) -> None:
    """Of any partition."""
    config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack)
    theirs = boto3.client(
        "kinesis", region_name=region, aws_access_key_id="a", aws_secret_access_key="b", config=config
    ).meta.endpoint_url
    found = endpoint_for("kinesis", region, fips=fips, dual_stack=dual_stack)
    assert found.url == theirs + "/"
    assert not found.custom


def test_a_variant_that_a_region_has_not_is_refused() -> None:
    """It is never another endpoint instead."""
    for region in ("us-iso-east-1", "eu-isoe-west-1"):
        with pytest.raises(EndpointError, match=f"'{region}' has no FIPS and dual-stack endpoint"):
            endpoint_for("kinesis", region, fips=True, dual_stack=True)


def test_a_variant_of_a_custom_endpoint_is_refused() -> None:
    """It is AWS's own or it is not."""
    with pytest.raises(EndpointError, match="leave out the endpoint URL"):
        endpoint_for("kinesis", "eu-west-1", "https://e", fips=True)


def test_what_is_no_region_is_refused_with_a_near_one() -> None:
    """A slip of the finger is named."""
    with pytest.raises(EndpointError, match="did you mean 'eu-west-1'"):
        endpoint_for("kinesis", "euwest-1")
    with pytest.raises(EndpointError, match="is not a region of AWS; give one like"):
        endpoint_for("kinesis", "?")
    assert "eu-west-1" in regions("kinesis")
    assert "cn-north-1" in regions("kinesis")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com", "vpce-1.kinesis.eu-west-1.vpce.amazonaws.com"),
        ("https://kinesis.example:8443/", "kinesis.example:8443"),
        ("https://kinesis.example:443", "kinesis.example"),
        ("http://127.0.0.1:4568", "127.0.0.1:4568"),
        ("http://127.9.9.9:80", "127.9.9.9"),
        ("http://localhost:4568/", "localhost:4568"),
        ("http://[::1]:4568", "[::1]:4568"),
        ("https://[fe80::1]", "[fe80::1]"),
    ],
)
def test_a_custom_endpoint(url: str, host: str) -> None:
    """https anywhere, http to this machine; the spec's pattern agrees."""
    found = endpoint_for("kinesis", "eu-west-1", url)
    assert (found.host, found.custom) == (host, True)
    assert found.url == f"{url.partition(':')[0]}://{host}/"
    assert re.fullmatch(ENDPOINT_PATTERN, url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://kinesis.example", "unencrypted"),
        ("http://10.0.0.1:4568", "unencrypted"),
        ("http://localhost.evil.example", "unencrypted"),
        ("http://127.0.0.1.evil.example", "unencrypted"),
        ("http://127.0.0.1@evil.example", "user or password"),
        ("https://user:secret@kinesis.example", "user or password"),
        ("https://kinesis.example/path", "without a path"),
        ("https://kinesis.example?q=1", "without a path"),
        ("ftp://kinesis.example", "must be https"),
        ("kinesis.example", "must be https"),
        ("https://kinesis.example:notaport", "must be https"),
        ("https://", "must be https"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    """With the reason, and without what stands in the URL's user part; the spec's pattern agrees."""
    with pytest.raises(EndpointError, match=said) as caught:
        endpoint_for("kinesis", "eu-west-1", url)
    assert "secret" not in str(caught.value)
    assert not re.fullmatch(ENDPOINT_PATTERN, url)
