"""The real application over the store of the smoke experiment, and a browser that visits it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pandas as pd
import pytest

from tests.report.test_report import browser  # noqa: F401
from tests.tuning import objectives as objectives
from tests.tuning.test_study import make_settings, run

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "experiments" / "smoke.toml"
PICTURES = ROOT / "build" / "pictures"
PATIENCE = 90_000  # milliseconds: two busy cores
QUIET = 300  # milliseconds without a change after which a page has settled; a slider waits for 200 before it tells its value
HELD = 5.0  # seconds that what the dashboard has read holds
# Each page notes when it last changed, or last spoke with the server.
NOTE_CHANGES = """
window.changed = performance.now();
const note = () => { window.changed = performance.now(); };
const elsewhere = found => found.some(one => !(one.target.closest && one.target.closest('.js-plotly-plot')));
new MutationObserver(found => { if (elsewhere(found)) note(); }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
window.WebSocket = class extends WebSocket {
    constructor(...given) { super(...given); this.addEventListener('message', note); }
    send(message) { note(); super.send(message); }
};
"""
SETTLED = f"""() => performance.now() - window.changed > {QUIET}
    && document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"""
NO_STORE = {"MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS", "SNPIMPUTE_STUDIES", "MLFLOW_RUN_ID"}
STUDY = "calves-{digest}-dense-long-0a1b2c3d"


@contextmanager
def serving(runs: Path, *options: str) -> Iterator[str]:
    """The address of a dashboard over a folder of runs, started by the command that the README gives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "snpimpute", "dashboard", "--runs", str(runs), "--port", str(port), *options]
    environment = {name: value for name, value in os.environ.items() if name not in NO_STORE}
    log = runs.parent / f"dashboard-{port}.log"
    with log.open("w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 180
            while True:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                try:
                    urlopen(f"{url}/_stcore/health", timeout=5)
                    break
                except HTTPError:  # it wants a token
                    break
                except (URLError, OSError):
                    time.sleep(0.3)
            yield url
        finally:
            process.terminate()
            process.wait(120)  # busy cores
    assert "Traceback" not in log.read_text(), log.read_text()


def too_late() -> type[Exception]:
    from playwright.sync_api import TimeoutError as Late

    return Late


class Visit:
    """A page in a browser; what goes wrong in it is kept in `complaints`, whoever else is asked in `strangers`."""

    in_front: Any = None  # the tab that is seen: the browser draws one behind it only every second or two

    def __init__(self, page: Any, url: str, name: str) -> None:
        self._page = page
        self.url = url
        self.name = name
        self.complaints: list[str] = []
        self.strangers: set[str] = set()
        self.read = 0.0  # when the page had settled
        self.heard = {"console": self._said, "pageerror": self._failed, "request": self._asked}
        for event, hear in self.heard.items():
            self.page.on(event, hear)

    @property
    def page(self) -> Any:
        if Visit.in_front is not self._page:
            self._page.bring_to_front()
            Visit.in_front = self._page
        return self._page

    def _said(self, message: Any) -> None:
        # a page other than the first asks first below its own address where the server is, and is told that it is not there
        where_is_the_server = "/_stcore/" in (message.location or {}).get("url", "") and "404" in message.text
        if message.type == "error" and not where_is_the_server:
            self.complaints.append(message.text)

    def _failed(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:", self.url.replace("http", "ws"))):
            self.strangers.add(request.url)

    def open(self, path: str = "") -> Visit:
        self.page.goto(f"{self.url}/{path}")
        self.page.get_by_test_id("stMain").locator("h2").first.wait_for()
        return self.settle()

    def settle(self) -> Visit:
        """Wait until the page has said all that it has to say."""
        self.page.evaluate("window.changed = performance.now()")
        self.page.wait_for_function(SETTLED, polling=50)
        self.read = time.monotonic()
        return self

    def until_it_is_read_anew(self) -> None:
        """Wait until nothing holds any more of what the dashboard read for this page."""
        self.page.wait_for_timeout(1000 * max(0.0, self.read + HELD + 0.1 - time.monotonic()))

    def choose(self, label: str, option: str) -> Visit:
        self._pull_down(label)
        self.page.get_by_role("option", name=option, exact=True).click()
        return self.settle()

    def _pull_down(self, label: str) -> None:
        box = self.page.get_by_role("combobox", name=label, exact=True)
        box.scroll_into_view_if_needed()
        for _ in range(5):  # a figure that is drawn meanwhile moves the box away, or closes its list
            box.click()
            try:
                self.page.get_by_role("option").first.wait_for(timeout=5000)
                return
            except too_late():
                continue
        raise AssertionError(f"the choices of {label} do not open")

    def chosen(self, label: str) -> str:
        return self.page.get_by_role("combobox", name=label, exact=True).input_value()

    def options(self, label: str) -> list[str]:
        self._pull_down(label)
        found = self.page.get_by_role("option").all_inner_texts()
        self.page.keyboard.press("Escape")
        return found

    def add(self, label: str, option: str | re.Pattern[str]) -> Visit:
        """Choose one more in a choice of several."""
        self._pull_down(label)
        self.page.get_by_role("option", name=option, exact=isinstance(option, str)).click()
        self.page.keyboard.press("Escape")
        return self.settle()

    def drop_last(self, label: str) -> Visit:
        """Take back the last of several that are chosen."""
        box = self.page.get_by_test_id("stMultiSelect").filter(has_text=label).locator("input").first
        box.click()
        box.press("Backspace")
        self.page.keyboard.press("Escape")
        return self.settle()

    def figure(self, key: str) -> Any:
        """A figure's traces by name, as plotly has them in the page."""
        from playwright.sync_api import Error

        for attempt in range(10):  # one that is drawn anew meanwhile takes the old one's place
            try:
                return self._traces(key)
            except Error:
                if attempt == 9:
                    raise
                self.page.wait_for_timeout(500)
        raise AssertionError

    def _traces(self, key: str) -> Any:
        plot = self.page.locator(f".st-key-figure-{key} .js-plotly-plot").last
        plot.scroll_into_view_if_needed(timeout=5000)
        plot.locator(".main-svg").first.wait_for()
        data = plot.evaluate(
            """plot => {
                const plain = v => ArrayBuffer.isView(v) ? Array.from(v) : v && v._inputArray ? Array.from(v._inputArray) : v;
                const tidy = t => Object.fromEntries(['name','type','mode','x','y','z','text','visible','dimensions','line'].map(k => [k, plain(t[k])]));
                return plot.data.map(tidy);
            }"""
        )
        return {trace.get("name") or f"{i}": trace for i, trace in enumerate(data)}

    def axes(self, key: str) -> list[str]:
        """Titles of a figure's axes, and whether all have one."""
        plot = self.page.locator(f".st-key-figure-{key} .js-plotly-plot").last
        return plot.evaluate(
            "plot => Object.entries(plot._fullLayout).filter(([k]) => /^[xy]axis\\d*$/.test(k)).map(([k, a]) => a.title.text)"
        )

    def csv(self, key: str) -> pd.DataFrame:
        with self.page.expect_download() as got:
            self.page.locator(f".st-key-csv-{key} button").click()
        assert got.value.suggested_filename == f"{key}.csv"
        return pd.read_csv(StringIO(Path(got.value.path()).read_text()))

    def picture(self, key: str) -> bytes:
        """What the camera above a figure saves."""
        with self.page.expect_download() as got:
            self.page.locator(f".st-key-figure-{key} .modebar-btn[data-title^=Download]").click()
        return Path(got.value.path()).read_bytes()

    def said(self) -> list[str]:
        return self.page.get_by_test_id("stAlert").all_inner_texts()

    def keep(self, what: str = "") -> None:
        """A picture of the whole page, kept for whoever asks for it (SNPIMPUTE_PICTURES=1): drawing it takes seconds."""
        if not os.environ.get("SNPIMPUTE_PICTURES"):
            return
        width = self.page.viewport_size["width"]
        height = self.page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
        self.page.set_viewport_size({"width": width, "height": min(max(height + 10, 800), 7000)})
        self.page.wait_for_timeout(2500)  # every figure draws itself anew
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{self.name}{what}.png")

    def check(self) -> None:
        assert self.complaints == []
        assert self.strangers == set()
        assert self.page.get_by_test_id("stException").count() == 0

    def leave(self) -> None:
        """Leave the page as the next visit finds it."""
        for event, hear in self.heard.items():
            self.page.remove_listener(event, hear)
        self.page.goto("about:blank")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts dashboards over other folders of runs; they end after the visits to them."""
    with ExitStack() as servers:
        yield lambda runs, *options: servers.enter_context(serving(runs, *options))


class Tabs:
    """Tabs of the browser that no visit uses, by colour scheme: a tab that is used again has the scripts at hand."""

    def __init__(self, browser: Any) -> None:  # noqa: F811
        self.browser = browser
        self.context = cache(self._context)
        self.free: dict[str, list[Any]] = defaultdict(list)

    def _context(self, scheme: str) -> Any:
        # what moves for its own sake takes 8% of the browser's time
        context = self.browser.new_context(color_scheme=scheme, reduced_motion="reduce")
        context.add_init_script(NOTE_CHANGES)
        return context

    def take(self, scheme: str, width: int) -> Any:
        page = self.free[scheme].pop() if self.free[scheme] else self.context(scheme).new_page()
        page.set_default_timeout(PATIENCE)
        page.set_viewport_size({"width": width, "height": 900})
        return page


@pytest.fixture(scope="module")
def tabs(browser: Any) -> Tabs:  # noqa: F811
    return Tabs(browser)


@pytest.fixture
def visit(tabs: Tabs, serve: Callable[..., str], request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """Opens pages; at the end none of them may have complained."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    visits: list[tuple[str, Visit]] = []

    def go(url: str, width: int = 1280, scheme: str = "light") -> Visit:
        visits.append((scheme, Visit(tabs.take(scheme, width), url, name)))
        return visits[-1][1]

    yield go
    for scheme, done in visits:
        done.check()
        done.leave()
        tabs.free[scheme].append(done.page)


@pytest.fixture(scope="session")
def runs(smoke_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke experiment's folder of runs, with one longer study in it."""
    runs = tmp_path_factory.mktemp("smoke") / "my runs"
    shutil.copytree(smoke_project / "my runs", runs)
    (dataset,) = (runs / "datasets").iterdir()
    name = STUDY.format(digest=dataset.name.removeprefix("calves-"))
    storage = str(runs / "studies" / f"{name}.journal")
    run(objectives.stepwise, make_settings(runs, storage=storage, n_trials=20, seed=8), name)
    return runs


@pytest.fixture(scope="session")
def dashboard(runs: Path) -> Iterator[str]:
    with serving(runs) as url:
        yield url


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """A copy of the folder of runs, to do harm to."""
    return Path(shutil.copytree(runs, tmp_path / "copied runs", ignore=shutil.ignore_patterns("mlartifacts", "model")))
