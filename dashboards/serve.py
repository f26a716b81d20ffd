"""Starts the dashboard's server."""

from __future__ import annotations

import logging
import re
import runpy
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.places import set_places
from snpimpute.base.errors import InputError
from snpimpute.report.tree import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "type",
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "global.developmentMode": False,
    "runner.magicEnabled": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.showEmailPrompt": False,
    # of each theme by itself: a colour of all themes would take the page's own choice of light or dark away
    "theme.light.primaryColor": COLOURS[0],
    "theme.dark.primaryColor": COLOURS[4],
}


def serve(runs: Path, store: str | None, studies: str | None, host: str, port: int) -> None:
    """Serve the dashboard until the process is ended.

    Args:
        runs: folder that experiments keep their results in.
        store: MLflow store to read; None for the one that the command line writes to.
        studies: database of Optuna studies to read beside the journals in `runs`, or None.
        host, port: where to listen.

    Raises:
        InputError: the address cannot be listened at.
    """
    _require_free(host, port)
    set_places(runs, store, studies)
    import streamlit
    from starlette.middleware import Middleware
    from streamlit.web.bootstrap import load_config_options

    options = {**OPTIONS, "server.address": host, "server.port": port, "browser.serverAddress": host}
    load_config_options(options)  # the pages that are run to warm up ask for them, and Streamlit warns of later changes
    _warm_up()
    app = streamlit.App(
        Path(__file__).with_name("app.py"),
        middleware=[Middleware(HeadStart, static=Path(streamlit.__file__).parent / "static")],
    )
    app.run(config=options)


class HeadStart:
    """Lets a browser fetch the code of choices, tables and figures at once, and connect without asking where the server is.

    Streamlit's page asks for the code of a kind of element when the first of that kind comes: a round trip for each, and
    for plotly four megabytes that are fetched, read and run while the visitor waits. Here the page names them all, plotly
    first because it takes longest, and what it names is answered from memory.

    The code of plotly says of itself that its functions are all called (a hint that V8 knows since Chrome 136, and that
    others pass over). It is then compiled whole, beside the page's own thread and before a figure comes, where it would
    be compiled function by function, in the page's thread, while the visitor waits.

    A page other than the first asks first below its own address where the server is (/studies/_stcore/health), and
    Streamlit's no is an error in the console of whoever opens a link to a page. Told where the server is, it asks nothing.
    """

    KINDS = ("Selectbox", "ButtonGroup", "Multiselect", "DataFrame", "DownloadButton", "PlotlyChart")
    SLOW = "PlotlyChart"
    COMPILED = b"//# allFunctionsCalledOnLoad\n"
    PAGE = re.compile(r"/[a-z]*")
    CODE = re.compile(r"/static/js/[\w.-]+\.js")
    IMPORTED = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
    SERVER = (
        "<script>window.__streamlit={BACKEND_BASE_URL:new URL('.',location).href,"
        "HOST_CONFIG:{allowedOrigins:[location.origin],useExternalAuthToken:false}}</script>"
    )

    def __init__(self, app: ASGIApp, static: Path) -> None:
        self.app = app
        code = {path.name: path.read_bytes() for path in (static / "static" / "js").glob("*.js")}
        waiting = [name for kind in self.KINDS for name in code if name.split(".")[0] == kind]
        wanted: dict[str, None] = {}
        while waiting:
            name = waiting.pop(0)
            if name in code and name not in wanted:
                wanted[name] = None
                waiting += self.IMPORTED.findall(code[name].decode())
        slow = [name for name in wanted if name.startswith(self.SLOW)]
        first = self.SERVER + self._links(slow)
        rest = self._links(name for name in wanted if name not in slow)
        index = (static / "index.html").read_text()
        self.page = index.replace("<head>", f"<head>{first}").replace("</head>", f"{rest}</head>")
        code |= {name: self.COMPILED + code[name] for name in slow}
        self.code = {path: code[path.rsplit("/", 1)[1]] for path in self.CODE.findall(self.page)}

    @staticmethod
    def _links(names: Iterable[str]) -> str:
        return "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
        elif self.PAGE.fullmatch(path):
            await self._answer(send, self.page.encode(), b"text/html; charset=utf-8", b"no-cache")
        elif path in self.code:
            # the name of a file changes with its content
            await self._answer(
                send, self.code[path], b"text/javascript; charset=utf-8", b"public, immutable, max-age=31536000"
            )
        else:
            await self.app(scope, receive, send)

    async def _answer(self, send: Send, body: bytes, kind: bytes, kept: bytes) -> None:
        length = str(len(body)).encode()
        headers = [(b"content-type", kind), (b"content-length", length), (b"cache-control", kept)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _require_free(host: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror}; give another --port or --host") from None


def _warm_up() -> None:
    """Do once what the first page to be opened would have to wait for: loading MLflow and drawing a first figure take seconds.

    Each page is run as if by a visitor whom nobody sees; only the live parts of the studies' page are not run so.
    """
    logging.disable(logging.WARNING)  # Streamlit warns of whatever runs without a visitor
    from dashboards import reading
    from snpimpute.tuning.reader import warm_up

    for view in sorted(Path(__file__).with_name("views").glob("[a-z]*.py")):
        with suppress(Exception):  # what is the matter, the page says to a visitor
            runpy.run_path(str(view))
    warm_up()
    reading.read_ahead()
    logging.disable(logging.NOTSET)
