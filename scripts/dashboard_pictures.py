"""Takes the README's two pictures of the dashboard from a folder of runs, by default the demo's.

python scripts/dashboard_pictures.py [--runs runs] [--dataset bulls] [--out docs/images]
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
from snpimpute.kept import kept_datasets, kept_scores  # noqa: E402

# file → page, the heading that the picture begins at, its height in pixels
PICTURES = {
    "dashboard-race.png": ("", "Race", 1010),
    "dashboard-wrong.png": ("wrong", "Along the chromosome", 788),
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=Path, default=Path("runs"))
    asked.add_argument("--dataset", default="bulls")
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = asked.parse_args()
    prepared = kept_datasets(arguments.runs)
    scored = [d for d in prepared if d.name == arguments.dataset and kept_scores(arguments.runs, prepared, d.name)]
    if not scored:
        sys.exit(f"nothing is scored on {arguments.dataset} in {arguments.runs}: run make demo")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.runs.absolute()) as url:
        take(url, scored[0].label, arguments.out)


def take(url: str, dataset: str, out: Path) -> None:
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
