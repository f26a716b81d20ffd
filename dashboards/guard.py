"""Who may open the dashboard: under the names that it listens at, and with a token where others can reach it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
REFUSED = "Open the link that `snpimpute dashboard` printed when it started: the token in it is missing here, or is of another start."


class Token:
    """ASGI middleware that answers 403 without the token, which a first link brings and a cookie keeps.

    Pages, their files and the websocket are treated alike.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self.app = app
        self.token = token
        self.cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        by_link = self._is_token(asked.query_params.get("token"))
        if not by_link and not self._is_token(asked.cookies.get(self.cookie)):
            await PlainTextResponse(REFUSED, status_code=403)(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if by_link and message["type"] == "http.response.start":
                # Lax, not Strict: a link in somebody's mail must keep working for the page's own requests
                kept = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
                MutableHeaders(scope=message).append("set-cookie", kept)
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _is_token(self, given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), self.token.encode())


def guard(host: str, port: int) -> tuple[list[Middleware], str]:
    """Return the middleware for an address to listen at, and the link with a new token; no link where none is needed.

    An address of this machine alone (loopback) answers to its own names, so that no website can have its name lead here
    (DNS rebinding). Others answer to whoever has the token; an address that is not all of them, to its own names as well.
    """
    addresses = {ipaddress.ip_address(str(found[4][0])) for found in socket.getaddrinfo(host, port)}
    shown = f"[{host}]" if ":" in host else host
    if all(address.is_loopback for address in addresses):
        return [_answering_to({*LOOPBACK, shown})], ""
    token = secrets.token_urlsafe(24)
    middleware = [Middleware(Token, token=token, cookie=f"snpimpute-{port}")]
    if any(address.is_unspecified for address in addresses):
        shown = socket.gethostname()
    else:
        own = {f"[{address}]" if address.version == 6 else str(address) for address in addresses}
        middleware.insert(0, _answering_to({shown, socket.gethostname(), socket.getfqdn(), *own}))
    return middleware, f"http://{shown}:{port}/?{urlencode({'token': token})}"


def _answering_to(names: set[str]) -> Middleware:
    return Middleware(TrustedHostMiddleware, allowed_hosts=sorted(names), www_redirect=False)
