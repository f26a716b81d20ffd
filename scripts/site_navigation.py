"""Hook of mkdocs: the decision records in the navigation, and on reports what was withdrawn since they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WITHDRAWN = """!!! warning "Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes"
    Beagle had no genetic map here, and its clusters and imputation steps are in cM. BERT's studies had one trial each.
    [What is left, until it is measured anew]({evidence})."""
ON_HUMAN = ("reference", "panels", "simpute")  # reports, as they were drawn, with a human dataset


def on_config(config: Any) -> Any:
    """Fill the entry "Decisions" of the navigation: the index, then the records in their order."""
    records = sorted((Path(config["docs_dir"]) / "decisions").glob("[0-9]*.md"))
    for entry in config["nav"]:
        if "Decisions" in entry:
            entry["Decisions"] = [
                {"All decisions": "decisions/index.md"},
                *(f"decisions/{path.name}" for path in records),
            ]
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Say under a report's title what no longer holds of it."""
    if page.file.src_uri not in {f"results/{report}/report.md" for report in ON_HUMAN}:
        return markdown
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\n{WITHDRAWN.format(evidence='../../evidence.md')}\n{rest}"
