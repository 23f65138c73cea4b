"""Tokens, and whether the process lives: what needs no token."""

from __future__ import annotations

from typing import Final

from headrace.control import sessions
from headrace.control.problems import Code, problem
from headrace.settings import Secret

from .call import Answer, Call
from .operation import Operations
from .schemas import ref

operations: Final = Operations("", "Sign-in")


@operations(
    "POST",
    "/ims/token/v3",
    body=ref("SignIn"),
    media="application/x-www-form-urlencoded",
    answer=ref("Token"),
    refusals=(401,),
    signed_in=False,
)
def create_token(call: Call) -> Answer:
    """Get a bearer token for a client (RFC 6749, client credentials).

    It lives for 24 hours. After some failures for a client or from an address, sign-ins are refused for a while.
    """
    form = call.form()
    grant = form.get("grant_type")
    if grant != "client_credentials":
        raise problem(Code.BAD_VALUE, "grant_type must be client_credentials")
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    if not client or not secret:
        raise problem(Code.BAD_VALUE, "client_id and client_secret must be given in the form")
    token = sessions.sign_in_client(call.control, client, Secret(secret), call.address)
    content = {"access_token": token.text.reveal(), "token_type": "bearer", "expires_in": token.expires_in_s}
    # RFC 6749, 5.1: no cache keeps a token.
    return Answer(content=content, headers={"cache-control": "no-store"})


@operations("GET", "/healthz", answer=ref("Alive"), signed_in=False)
def get_health(_call: Call) -> Answer:
    """Say that the process lives; nothing is looked at."""
    return Answer(content={"status": "alive"})
