"""Header of an imputed file: the target's lines, the fields that are written here, and what of the target's clashes with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

PREFIX = "##snpimpute_"
INFO_LINES = {
    "AF": '##INFO=<ID=AF,Number=A,Type=Float,Description="Estimated ALT allele frequency: half the mean DS of all samples">',
    "DR2": (
        '##INFO=<ID=DR2,Number=A,Type=Float,Description="Dosage R-squared: estimated squared correlation between estimated '
        "and true ALT dose, var(u) / [mean(P(RA) + 4*P(AA)) - mean(u)^2] with u = P(RA) + 2*P(AA) and all samples "
        '(Browning and Browning 2009, doi:10.1016/j.ajhg.2009.01.005); 0 where that is 0/0">'
    ),
    "IMP": '##INFO=<ID=IMP,Number=0,Type=Flag,Description="Imputed site: no sample was typed">',
}
FORMAT_LINES = {
    "GT": '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype: as observed, else that of the largest GP, unphased">',
    "DS": '##FORMAT=<ID=DS,Number=A,Type=Float,Description="Estimated ALT dose [P(RA) + 2*P(AA)]">',
    "GP": '##FORMAT=<ID=GP,Number=G,Type=Float,Description="Estimated genotype probability">',
}
DRAWN_GT_LINE = (
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype: as observed, else drawn from the posterior, unphased">'
)
PHASED_GT_LINE = (
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype: as observed, else that of the largest GP; phased">'
)
IC_LINE = '##FORMAT=<ID=IC,Number=1,Type=Integer,Description="Imputed call: 1 imputed, 0 observed">'
DEFINED = re.compile(r"##(\w+)=<(?:.*?,)??ID=([^,>]+)")
OF_VALUES = re.compile(r"[<,](Number|Type)=([^,>]+)")
WITH_ONE_ALT = {"A": "1", "R": "2", "G": "3"}  # numbers of values of a diploid call at a site with one ALT


def header_lines(
    target_header: str,
    contigs: Sequence[str],
    about: Mapping[str, str],
    own: Mapping[tuple[str, str], str],
    drawn: bool,
) -> list[str]:
    """Return the ## lines: the target's except those defined in `own`, then these."""
    kept, defined = [], set()
    for line in target_header.splitlines():
        match = DEFINED.match(line)
        name = (match[1], match[2]) if match else None
        if line.startswith("##") and not line.startswith((PREFIX, "##fileformat=")) and name not in own:
            kept.append(line)
            defined.add(name)
    version = re.search(r"^##fileformat=.*$", target_header, re.MULTILINE)
    lines = [version[0].strip() if version else "##fileformat=VCFv4.2"]
    if ("FILTER", "PASS") not in defined:
        lines.append('##FILTER=<ID=PASS,Description="All filters passed">')
    lines += kept
    lines += [f"##contig=<ID={contig}>" for contig in dict.fromkeys(contigs) if ("contig", contig) not in defined]
    lines += [line for (_, name), line in own.items() if not (drawn and name in ("DR2", "DS", "GP"))]
    return lines + [f"{PREFIX}{key}={' '.join(str(value).split())}" for key, value in about.items()]


def own_lines(flags: Mapping[str, str], flag_imputed: bool, phased: bool, drawn: bool) -> dict[tuple[str, str], str]:
    """Return the INFO and FORMAT lines of the fields that are written here, by what they define."""
    own = {("INFO", name): line for name, line in INFO_LINES.items()}
    own |= {
        ("INFO", name): f'##INFO=<ID={name},Number=0,Type=Flag,Description="{text}">' for name, text in flags.items()
    }
    own |= {("FORMAT", name): line for name, line in FORMAT_LINES.items()}
    if flag_imputed:
        own["FORMAT", "IC"] = IC_LINE
    if phased:
        own["FORMAT", "GT"] = PHASED_GT_LINE
    if drawn:
        own["FORMAT", "GT"] = DRAWN_GT_LINE
    return own


def clashing_keys(header: str, own: Mapping[tuple[str, str], str]) -> dict[str, set[str]]:
    """Return the INFO and FORMAT keys that a header defines with another Number or Type than the lines that take their place.

    Args:
        header: the target's header.
        own: line of the imputed file by what it defines, as in ("FORMAT", "DS").
    """
    found: dict[str, set[str]] = {"INFO": set(), "FORMAT": set()}
    for line in header.splitlines():
        match = DEFINED.match(line)
        taken = own.get((match[1], match[2])) if match else None
        if match and taken is not None and _values(line) != _values(taken):
            found[match[1]].add(match[2])
    return found


def _values(line: str) -> set[str]:
    """Return Type and Number of a definition, the same where they are the same with one ALT."""
    return {WITH_ONE_ALT.get(value, value) for _, value in OF_VALUES.findall(line)}
