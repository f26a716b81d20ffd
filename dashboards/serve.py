"""Start of the dashboard's server."""

from __future__ import annotations

import logging
import runpy
import socket
from contextlib import suppress
from pathlib import Path

from dashboards.places import set_places
from snpimpute.base.errors import InputError
from snpimpute.report.tree import COLOURS

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
    # set for each theme: a colour for all themes would override the visitor's choice of light or dark
    "theme.light.primaryColor": COLOURS[0],
    "theme.dark.primaryColor": COLOURS[4],
}


def serve(runs: Path, store: str | None, studies: str | None, host: str, port: int) -> None:
    """Serve the dashboard until the process is ended.

    Args:
        runs: folder of all results.
        store: MLflow store to read; None for the one that the command line writes to.
        studies: database of Optuna studies to read beside the journals in `runs`, or None.
        host, port: address to listen at.

    Raises:
        InputError: the server cannot listen at the address.
    """
    _require_free(host, port)
    set_places(runs, store, studies)
    import streamlit
    from streamlit.web.bootstrap import load_config_options

    options = {**OPTIONS, "server.address": host, "server.port": port, "browser.serverAddress": host}
    load_config_options(options)  # before the warm-up: its pages read them, and Streamlit warns of later changes
    _warm_up()
    streamlit.App(Path(__file__).with_name("app.py")).run(config=options)


def _require_free(host: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror}; give another --port or --host") from None


def _warm_up() -> None:
    """Run every page once, so that the first visitor need not wait: loading MLflow and a first figure take seconds.

    The live parts of the studies' page do not run without a visitor; `read_ahead` fills their cache.
    """
    logging.disable(logging.WARNING)  # Streamlit warns of code that runs without a visitor
    from dashboards import reading
    from snpimpute.tuning.reader import warm_up

    for view in sorted(Path(__file__).with_name("views").glob("[a-z]*.py")):
        with suppress(Exception):  # the page reports its errors to a visitor
            runpy.run_path(str(view))
    warm_up()
    reading.read_ahead()
    logging.disable(logging.NOTSET)
