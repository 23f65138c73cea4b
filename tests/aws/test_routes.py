"""Which way an endpoint is reached: what is stated, what the environment says, and what never goes by a proxy."""

from __future__ import annotations

import re

import pytest

from headrace.aws import PROXY_PATTERN, Route, RouteError, route_for

AWS = "https://kinesis.eu-west-1.amazonaws.com/"
PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


def proxy(url: str = AWS, **environ: str) -> str:
    """The proxy that is gone by, with HTTPS_PROXY set."""
    return route_for(url, {**PROXY, **environ}).proxy


def test_the_environment_is_asked_when_nothing_is_stated() -> None:
    """Lower case first, as curl does; HTTP_PROXY and ALL_PROXY say nothing about TLS."""
    assert proxy() == "http://proxy.example:3128"
    assert proxy(https_proxy="https://other.example") == "https://other.example"
    assert proxy(HTTPS_PROXY="proxy.example:80") == "http://proxy.example:80"
    assert proxy(HTTPS_PROXY="") == ""
    assert route_for(AWS, {"HTTP_PROXY": "http://p", "http_proxy": "http://p"}).proxy == ""


def test_user_and_password_of_the_environment_are_taken_apart() -> None:
    """Unquoted; neither the URL nor what is shown holds the password."""
    route = route_for(AWS, {"HTTPS_PROXY": "http://" + "us%40er:the%2Fsecret" + "@[::1]:3128"})
    assert (route.proxy, route.user, route.password) == ("http://[::1]:3128", "us@er", "the/secret")
    assert "secret" not in repr(route)


@pytest.mark.parametrize("wrong", ["socks5://proxy:1", "http://", "http://h:port", "http://user:secret@:1"])
def test_a_proxy_that_is_none_is_refused_without_its_text(wrong: str) -> None:
    """It may hold a password."""
    with pytest.raises(RouteError, match="HTTPS_PROXY") as caught:
        route_for(AWS, {"HTTPS_PROXY": wrong})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "url", "direct"),
    [
        ("*", AWS, True),
        ("amazonaws.com", AWS, True),
        (".amazonaws.com", AWS, True),
        ("*.amazonaws.com", AWS, True),
        ("a.example , KINESIS.eu-west-1.amazonaws.com", AWS, True),
        ("kinesis.eu-west-1.amazonaws.com:443", AWS, True),
        ("kinesis.eu-west-1.amazonaws.com:8443", AWS, False),
        ("naws.com", AWS, False),
        ("", AWS, False),
        (" , ", AWS, False),
        ("10.0.0.0/8", "https://10.1.2.3:8443/", True),
        ("10.1.2.3", "https://10.1.2.3:8443/", True),
        ("10.0.0.0/16", "https://10.1.2.3:8443/", False),
        ("fd00::/8", "https://[fd12::1]/", True),
        ("10.0.0.0/8", AWS, False),
        ("nonsense/x", AWS, False),
    ],
)
def test_no_proxy_names_exceptions(names: str, url: str, direct: bool) -> None:
    """Hosts, domains, ports, address blocks, everything."""
    assert proxy(url, NO_PROXY=names) == ("" if direct else PROXY["HTTPS_PROXY"])
    assert proxy(url, no_proxy=names, NO_PROXY="") == ("" if direct else PROXY["HTTPS_PROXY"])


@pytest.mark.parametrize("url", ["https://localhost:4567/", "https://127.0.0.1/", "https://[::1]:1/"])
def test_this_machine_is_reached_directly_unless_stated(url: str) -> None:
    """The environment's proxy is for others."""
    assert proxy(url) == ""
    assert route_for(url, PROXY, proxy_url="http://p:1").proxy == "http://p:1"


def test_a_plain_endpoint_is_never_reached_by_a_proxy() -> None:
    """It would see every record."""
    assert route_for("http://127.0.0.1:4568/", PROXY, proxy_url="http://p:1").proxy == ""


def test_what_is_stated_counts() -> None:
    """A proxy with its user, or none; the environment is not asked, not even for exceptions."""
    route = route_for(AWS, {**PROXY, "NO_PROXY": "*"}, proxy_url="https://p:1", user="u", password="w", ca_file="/ca")
    assert (route.proxy, route.user, route.password, route.ca_file, route.stated) == (
        "https://p:1",
        "u",
        "w",
        "/ca",
        True,
    )
    none = route_for(AWS, PROXY, proxy_url="none")
    assert (none.proxy, none.stated) == ("", True)
    assert not Route().stated


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("none", True),
        ("http://proxy:3128", True),
        ("https://[::1]:3128/", True),
        ("http://user:secret@proxy:3128", False),
        ("proxy:3128", False),
        ("http://proxy/path", False),
        ("", False),
    ],
)
def test_the_pattern_of_a_stated_proxy(text: str, right: bool) -> None:
    """No user and no password in it."""
    assert bool(re.fullmatch(PROXY_PATTERN, text)) == right
