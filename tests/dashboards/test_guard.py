"""Who may open the dashboard: the names that it answers to, and the token of an address that others can reach."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PATHS = ("/", "/race", "/static/no.js", "/media/no.png", "/_stcore/health", "/_stcore/host-config")
STREAM = "/_stcore/stream"


def status(url: str, **headers: str) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def opens(url: str, host: str, origin: str | None = None, cookie: str = "") -> bool:
    """Whether a websocket to the server is opened by a client that calls it `host`."""
    at, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()  # type: ignore[union-attr]
    with socket.create_connection((at, int(port)), timeout=30) as wire:
        try:
            headers = {"Cookie": cookie} if cookie else {}
            with connect(f"ws://{host}{STREAM}", sock=wire, origin=origin, additional_headers=headers):  # type: ignore[arg-type]
                return True
        except InvalidStatus as error:
            assert error.response.status_code in (400, 403)
            return False


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> object:
    from tests.dashboards.conftest import serving

    with serving(tmp_path_factory.mktemp("own") / "runs") as url:
        yield url


def test_it_answers_to_its_own_names_alone(own: str) -> None:
    port = own.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST"):
        assert status(f"{own}/", Host=f"{name}:{port}") == 200
        assert opens(own, f"{name.lower()}:{port}", f"http://{name.lower()}:{port}")
    assert opens(own, "localhost:9000", "http://localhost:9000"), "through a tunnel from another port"
    for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "user@localhost", ""):
        assert {status(own + path, Host=name) for path in PATHS} == {400}, name
    assert not opens(own, f"evil.example:{port}", f"http://evil.example:{port}")
    assert not opens(own, f"127.0.0.1:{port}", "http://evil.example")


def test_others_need_the_token_of_the_link(tmp_path: Path, serve: Callable[..., str]) -> None:
    url = serve(tmp_path / "runs", "--host", "0.0.0.0")
    (log,) = tmp_path.glob("dashboard-*.log")
    port, token = re.search(r"http://\S+:(\d+)/\?token=([\w-]{32})$", log.read_text(), re.MULTILINE).groups()  # type: ignore[union-attr]
    assert url.endswith(f":{port}") and log.read_text().count("http://") == 1, "no link without the token is shown"
    name = f"127.0.0.1:{port}"
    for wrong in ("", "?token=", "?token=x", f"?token={token[:-1]}", f"?token={token}x", "?token=%C3%A9"):
        assert {status(f"{url}{path}{wrong}") for path in PATHS} == {403}, wrong
    assert status(f"{url}/", Cookie=f"snpimpute-{port}=x") == 403
    assert not opens(url, name) and not opens(url, name, cookie=f"snpimpute-{port}=x")
    with urlopen(f"{url}/?token={token}", timeout=30) as page:
        cookie, *rest = page.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(rest)
    assert status(f"{url}/race", Cookie=cookie) == status(f"{url}/_stcore/health", Cookie=cookie) == 200
    assert opens(url, name, f"http://{name}", cookie)
    assert not opens(url, name, "http://evil.example", cookie)
