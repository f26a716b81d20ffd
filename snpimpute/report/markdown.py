"""Report as Markdown: the tree as text, its figures as links to PNG files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snpimpute.report.about import ReportContext
from snpimpute.report.text import count
from snpimpute.report.tree import Block, Cell, Chapter, Confusion, Figure, Folded, Table, Text


def as_markdown(context: ReportContext, overview: list[Block], chapters: list[Chapter]) -> str:
    """Return the report of an experiment as Markdown."""
    parts = [f"# {_md(context.title)}", *(f"> **{_md(note)}**" for note in context.notes)]
    if len(chapters) > 1:
        lines = [
            f"- [{_md(c.about.name)}](#{c.key}): {_md(c.best)} has the highest macro-F1 at {c.missing}"
            for c in chapters
        ]
        parts.append("\n".join(lines))
    parts += _md_blocks(overview)
    for chapter in chapters:
        about = chapter.about
        parts.append(f'<a id="{chapter.key}"></a>\n\n## {_md(about.name)}')
        if chapter.advice:
            parts.append(_md(chapter.advice.sentence))
            parts += [f"```bash\n{chapter.advice.command}\n```"] if chapter.advice.command else []
        parts.append(_md(about.description))
        parts.append(
            f"{about.n_train:,} samples to train ({about.n_validation:,} of them held out in studies), {about.n_test:,} to test; "
            f"{about.n_sites:,} sites{f' on {about.n_contigs:,} contigs' if about.n_contigs > 1 else ''}. Genotype shares: {_md(about.genotype_shares)}. Digest `{about.digest}`."
        )
        parts.append("\n".join(f"- {_md(sentence)}" for sentence in chapter.summary))
        if len(about.left_out):
            rows = [[Cell(str(reason)), Cell(count(n))] for reason, n in about.left_out[["reason", "n"]].to_numpy()]
            parts.append(_md_table(Table("Sites read, left out and kept", ["Reason", "Sites"], rows)))
        for section in chapter.sections:
            parts.append(f"### {_md(section.title)}")
            parts += _md_blocks(section.blocks)
    versions = ", ".join(f"{_md(name)} {_md(version)}" for name, version in context.versions.items())
    parts.append(f"Versions: {versions}." if versions else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _md_blocks(blocks: Iterable[Block]) -> list[str]:
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append(_md_table(block))
        elif isinstance(block, Text):
            parts.append(f"> **Caution.** {_md(block.text)}" if block.kind == "caution" else _md(block.text))
        elif isinstance(block, Figure):
            parts.append(f"![{_md(block.alt)}]({block.png})\n\n{_md(block.how)}")
        elif isinstance(block, Confusion):
            parts.append(_md_table(_confusion_table(block)))
        elif isinstance(block, Folded):
            parts += [f"<details><summary>{_md(block.summary)}</summary>", *_md_blocks(block.blocks), "</details>"]
        else:
            for name, inner in block.options.items():
                parts += [f"**{_md(name)}**"] if len(block.options) > 1 else []
                parts += _md_blocks(inner)
    return parts


def _confusion_table(block: Confusion) -> Table:
    columns = ["Imputer", *(f"{true} called {called}" for true in (0, 1, 2) for called in (0, 1, 2))]
    rows = [[Cell(label), *(Cell(count(n)) for row in square for n in row)] for label, square in block.counts.items()]
    return Table("Calls by true and called genotype", columns, rows)


def _md_table(table: Table) -> str:
    rows = [[_md(f"{cell.text} ({cell.detail})" if cell.detail else cell.text) for cell in row] for row in table.rows]
    return f"*{_md(table.caption)}*\n\n{table_of([_md(column) for column in table.columns], rows)}"


def table_of(columns: list[str], rows: list[list[str]], numbers: bool = True) -> str:
    """Return a table of Markdown cells, aligned right if `numbers`; a row may lack its last cells."""
    rule = " ---: |" if numbers else " --- |"
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + rule * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" * (1 + len(columns) - len(row)) for row in rows)])


def _md(text: str) -> str:
    """Return plain text with all Markdown markup escaped."""
    text = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|$\[\]])", r"\\\1", text)
