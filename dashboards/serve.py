"""Starts the dashboard's server."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.places import set_places
from snpimpute.errors import InputError
from snpimpute.report.tree import COLOURS

if TYPE_CHECKING:
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

    _warm_up()
    app = streamlit.App(
        Path(__file__).with_name("app.py"),
        middleware=[Middleware(QuietProbes), Middleware(HeadStart, static=Path(streamlit.__file__).parent / "static")],
    )
    app.run(config={**OPTIONS, "server.address": host, "server.port": port, "browser.serverAddress": host})


class QuietProbes:
    """Says no to a page that asks below its own address where the server is, in a way that no browser logs as an error.

    Streamlit's page asks there first (/studies/_stcore/health), and at the root when it hears no. Its own no is a 404,
    which stands in the console of whoever opens a link to a page.
    """

    PROBE = re.compile(r"/[a-z]+/_stcore/(health|host-config)")

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.PROBE.fullmatch(scope["path"]):
            await send({"type": "http.response.start", "status": 300, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)


class HeadStart:
    """Lets a browser fetch the code of figures, tables and choices at once, and ready it while the server works.

    Streamlit's page asks for the code of a kind of element when the first of that kind comes: a round trip for each, and
    for plotly four megabytes that are fetched, read and run while the visitor waits. Here the page names them all, and
    what it names is answered from memory.
    """

    KINDS = ("PlotlyChart", "ButtonGroup", "Selectbox", "Multiselect", "DataFrame", "DownloadButton")
    PAGE = re.compile(r"/[a-z]*")
    CODE = re.compile(r"/static/js/[\w.-]+\.js")
    IMPORTED = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")

    def __init__(self, app: ASGIApp, static: Path) -> None:
        self.app = app
        code = {path.name: path.read_bytes() for path in (static / "static" / "js").glob("*.js")}
        kinds = [name for name in code if name.split(".")[0] in self.KINDS]
        wanted: dict[str, None] = {}
        waiting = [*kinds]
        while waiting:
            name = waiting.pop(0)
            if name in code and name not in wanted:
                wanted[name] = None
                waiting += self.IMPORTED.findall(code[name].decode())
        links = "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in wanted)
        imports = ",".join(f'import("./static/js/{name}")' for name in kinds)
        script = f"<script>addEventListener('load',()=>requestIdleCallback(()=>[{imports}]))</script>"
        self.page = (static / "index.html").read_text().replace("</head>", f"{links}{script}</head>")
        self.code = {path: code[path.rsplit("/", 1)[1]] for path in self.CODE.findall(self.page)}

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
    """Do once what the first page to be opened would have to wait for: MLflow and its database layer take seconds."""
    logging.disable(logging.WARNING)  # Streamlit warns of whatever is cached before it runs
    import pandas
    import plotly.graph_objects
    import pyarrow

    import snpimpute.inspection
    import snpimpute.report.charts  # noqa: F401
    from dashboards import reading
    from snpimpute.studies import warm_up

    drawn = [{"type": kind} for kind in ("scatter", "bar", "heatmap", "parcoords")]
    axis = {"title": {"text": ""}}
    plotly.graph_objects.Figure(drawn, {"height": 100, "xaxis": axis, "yaxis": axis, "legend": {"x": 0}}).to_json()
    pyarrow.Table.from_pandas(pandas.DataFrame({"a": [0]}))
    warm_up()
    reading.read_ahead()
    logging.disable(logging.NOTSET)
