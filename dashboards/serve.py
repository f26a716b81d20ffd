"""Start of the dashboard's server."""

from __future__ import annotations

import gc
import logging
import runpy
import socket
from contextlib import suppress
from pathlib import Path

from dashboards.guard import guard
from dashboards.places import set_places
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.report.tree import COLOURS

OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "type",
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "global.developmentMode": False,
    "runner.magicEnabled": False,
    # set here, so that no configuration of the user's other pages opens this one
    "server.corsAllowedOrigins": [],
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.showEmailPrompt": False,
    # set for each theme: a colour for all themes would override the visitor's choice of light or dark
    "theme.light.primaryColor": COLOURS[0],
    "theme.dark.primaryColor": COLOURS[4],
}


def serve(runs: Path, store: str | None, studies: str | None, host: str, port: int) -> None:
    """Serve the dashboard until the process is ended; print a link with a token if others can reach the address.

    Args:
        runs: folder of all results.
        store: MLflow store to read; None for the one that the command line writes to.
        studies: database of Optuna studies to read beside the journals in `runs`, or None.
        host, port: address to listen at.

    Raises:
        InputError: the server cannot listen at the address.
    """
    _require_free(host, port)
    if store is None and not runs.is_dir():  # it may come: the pages say what to run
        Watch().warn(
            f"there is no folder {runs}: there is nothing to show until snpimpute experiment makes it, or --runs names another"
        )
    set_places(runs, store, studies)
    import streamlit
    from streamlit.web.bootstrap import load_config_options

    middleware, link = guard(host, port)
    options = {**OPTIONS, "server.address": host, "server.port": port, "browser.serverAddress": host}
    options["logger.hideWelcomeMessage"] = bool(link)  # it shows the address without the token
    load_config_options(options)  # before the warm-up: its pages read them, and Streamlit warns of later changes
    _warm_up()
    gc.freeze()  # Streamlit collects garbage after every run of a page: the libraries' objects need not be visited each time
    if link:
        print(f"Whoever has this link sees the genotypes of the test samples:\n{link}", flush=True)
    streamlit.App(Path(__file__).with_name("app.py"), middleware=middleware).run(config=options)


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
