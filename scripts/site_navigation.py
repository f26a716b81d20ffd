"""Hook of mkdocs that adds the design records to the navigation, and warnings of withdrawn results to reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WITHDRAWN = """!!! warning "Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes"
    Beagle had no genetic map here, and its clusters and imputation steps are in cM. BERT's studies had one trial each.
    [What is left, until it is measured anew]({evidence})."""
ON_HUMAN = ("reference", "panels", "simpute")  # reports with a human dataset, unchanged since they were made


def on_config(config: Any) -> Any:
    """Fill the entry "Decisions" of the navigation with the index and the design records in their order."""
    records = sorted((Path(config["docs_dir"]) / "decisions").glob("[0-9]*.md"))
    for entry in config["nav"]:
        if "Decisions" in entry:
            entry["Decisions"] = [
                {"All decisions": "decisions/index.md"},
                *(f"decisions/{path.name}" for path in records),
            ]
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Add a warning of withdrawn results below a report's title."""
    if page.file.src_uri not in {f"results/{report}/report.md" for report in ON_HUMAN}:
        return markdown
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\n{WITHDRAWN.format(evidence='../../evidence.md')}\n{rest}"
