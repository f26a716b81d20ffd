"""Starts the dashboard's server."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.places import places, set_places
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
    app = streamlit.App(Path(__file__).with_name("app.py"), middleware=[Middleware(QuietProbes)])
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
    import pandas
    import plotly.graph_objects
    import pyarrow

    import snpimpute.inspection
    import snpimpute.kept
    import snpimpute.pipeline
    import snpimpute.report.sections  # noqa: F401
    from snpimpute.store import Store
    from snpimpute.studies import journals, read_study, warm_up

    plotly.graph_objects.Figure([{"y": [0]}], {"height": 100})
    pyarrow.Table.from_pandas(pandas.DataFrame({"a": [0]}))
    warm_up()
    with suppress(InputError):  # the pages say what is the matter
        for journal in journals(places().runs)[:1]:
            read_study(str(journal), journal.stem)
        store = Store(places().store)
        store.training_runs()
        store.versions()
