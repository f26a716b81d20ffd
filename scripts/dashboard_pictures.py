"""Take the README's two pictures of the dashboard, from the results of the demo in the folder of runs.

    python scripts/dashboard_pictures.py [--experiment experiments/demo.toml] [--runs runs] [--out docs/images]

The pictures show the experiment's prepared dataset; results of other experiments are ignored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.dashboard_store import CHROMIUM, dashboard  # noqa: E402
from snpimpute.experiment.kept import KeptDataset, kept_datasets, kept_scores  # noqa: E402
from snpimpute.experiment.pipeline import prepare  # noqa: E402
from snpimpute.experiment.settings import read  # noqa: E402
from snpimpute.experiment.workspace import Workspace  # noqa: E402

# file → page, first heading in the picture, height in pixels
PICTURES = {
    "dashboard-race.png": ("", "Race", 1050),
    "dashboard-wrong.png": ("wrong", "Along the chromosome", 788),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, default=ROOT / "experiments" / "demo.toml")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    dataset = scored(arguments.experiment, arguments.runs)
    if dataset is None:
        sys.exit(f"nothing of {arguments.experiment} is scored in {arguments.runs}: run make demo")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.runs.absolute()) as url:
        take(url, dataset.label, arguments.out)


def scored(experiment: Path, runs: Path) -> KeptDataset | None:
    """Return the experiment's first prepared dataset, or None if it has no scores."""
    kept = kept_datasets(runs)
    if not kept:
        return None
    settings = read(experiment)
    folder = prepare(
        settings, next(iter(settings.data)), Workspace(runs)
    )  # finds the existing dataset if the experiment was run
    for dataset in kept:
        if dataset.folder == folder:
            tables = kept_scores(runs, kept, dataset.name)
            return dataset if any(table.dataset_digest == dataset.digest for table in tables) else None
    return None


def take(url: str, dataset: str, out: Path) -> None:
    """Take the pictures from a running dashboard."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for file, (path, heading, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1180, "height": 3600})
            page.set_default_timeout(180_000)
            page.goto(f"{url}/{path}?{urlencode({'dataset': dataset})}")
            page.locator(".js-plotly-plot .main-svg").nth(2).wait_for()
            page.wait_for_timeout(5000)
            top = page.get_by_role("heading", name=heading, exact=True).first.bounding_box()["y"] - 2
            left = page.get_by_test_id("stMain").bounding_box()["x"]
            page.screenshot(path=out / file, clip={"x": left, "y": top, "width": 1180 - left, "height": height})
            with Image.open(out / file) as picture:
                few_colours = picture.convert("RGB").quantize(128)  # a third of the size
            few_colours.save(out / file, optimize=True)
            print(out / file)
        browser.close()


if __name__ == "__main__":
    main()
