"""A client of the application in this process, without a socket between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from headrace.control.organisations import FirstStart
from tests.control.plane import ORG

BASE = "/data/foundation/flowservice"
TOKEN = "/ims/token/v3"


class Client:
    """Sends requests one after the other, each on a loop of its own.

    Args:
        app: The application.
        headers: Sent with each request.
        address: Where the requests seem to come from.
    """

    def __init__(self, app: Any, headers: Mapping[str, str] | None = None, address: str = "192.0.2.1") -> None:
        self.app = app
        self.headers = dict(headers or {})
        self._address = address

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; what comes after the answer is done too when this returns."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=(self._address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
                return await client.request(method, path, headers={**self.headers, **more.pop("headers", {})}, **more)

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        """A GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """A POST."""
        return self.request("POST", path, **({"json": json} if json is not None else {}), **more)

    def patch(self, path: str, json: Any, etag: str | None = None, **more: Any) -> httpx.Response:
        """A PATCH of somebody who has read this etag."""
        return self.request("PATCH", path, json=json, headers={"if-match": etag} if etag else {}, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        """A DELETE."""
        return self.request("DELETE", path, **more)

    def item(self, path: str) -> dict[str, Any]:
        """The one item of a resource of the Flow Service."""
        answer = self.get(BASE + path)
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
        found: dict[str, Any] = item
        return found


def form(client_id: str, secret: str, grant: str = "client_credentials") -> dict[str, str]:
    """The form of a sign-in."""
    return {"grant_type": grant, "client_id": client_id, "client_secret": secret, "scope": "openid"}


def signed_in(client: Client, first: FirstStart) -> Client:
    """The client, with the headers of the first client of the organisation."""
    return as_account(client, first.client.id, first.client.secret.reveal())


def as_account(client: Client, client_id: str, secret: str, sandbox: str = "prod") -> Client:
    """The client, with the headers of a client of the organisation."""
    answer = client.post(TOKEN, data=form(client_id, secret))
    assert answer.status_code == 200, answer.text
    client.headers |= {
        "authorization": f"Bearer {answer.json()['access_token']}",
        "x-api-key": client_id,
        "x-gw-ims-org-id": ORG,
        "x-sandbox-name": sandbox,
    }
    return client
