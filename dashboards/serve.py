"""Starts the dashboard's server."""

from __future__ import annotations

import socket
from pathlib import Path

from snpimpute.errors import InputError

LOCALHOST = "127.0.0.1"
PORT = 8501
# what `streamlit run` would be told by flags
OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "type",
    "client.toolbarMode": "viewer",
    "global.developmentMode": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.showEmailPrompt": False,
    "theme.chartCategoricalColors": [],
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
    from streamlit.web import bootstrap

    _import_what_pages_need()
    options = {name: value for name, value in OPTIONS.items() if value != []}
    flags = {name.replace(".", "_"): value for name, value in options.items()}
    flags |= {"server_address": host, "server_port": port, "browser_serverAddress": host}
    bootstrap.load_config_options(flags)
    told = ["--runs", str(runs), *(["--store", store] if store else []), *(["--studies", studies] if studies else [])]
    bootstrap.run(str(Path(__file__).with_name("app.py")), False, told, flags)


def _require_free(host: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror}; give another --port or --host") from None


def _import_what_pages_need() -> None:
    """So that the first page to be opened does not wait for it: MLflow alone takes seconds."""
    import mlflow
    import optuna.importance
    import plotly.graph_objects
    import streamlit.elements.plotly_chart  # noqa: F401
