"""Records of truth and imputed file at one position, paired by their alleles: as they are, exchanged, or with an unstated ALT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snpimpute.base.errors import InputError
from snpimpute.io.builds import plain_contig
from snpimpute.io.records import Record, Stream, split
from snpimpute.io.stream import contigs_in_order, streamed

Place = tuple[int, int]  # number of the contig, position
Alleles = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Pair:
    """One site of truth and imputed file.

    Attributes:
        truth, imputed: the records.
        ref, alt: alleles of the site, as the imputed file has them (as the truth has them if the imputed ALT is unstated).
        truth_turned, imputed_turned: whether the record counts copies of `ref`, so that its calls must be turned round.
    """

    truth: Record
    imputed: Record
    ref: str
    alt: str
    truth_turned: bool
    imputed_turned: bool


def contig_ranks(paths: Sequence[Path]) -> dict[str, int]:
    """Return a mapping of plain contig → rank in an order that all files follow; InputError if there is none."""
    for path in paths:
        with streamed(path):  # raises the file's own errors before its contigs are compared
            pass
    return ranks_of([(path.name, contigs_in_order(path)) for path in paths])


def ranks_of(files: Sequence[tuple[str, Sequence[str]]]) -> dict[str, int]:
    """Return what `contig_ranks` does, of the files' names and their contigs in order."""
    merged: list[str] = []
    for name, contigs in files:
        own = [plain_contig(contig) for contig in contigs]
        before = 0
        for contig in own:
            if contig in merged:
                before = merged.index(contig) + 1
            else:
                merged.insert(before, contig)
                before += 1
        places = [merged.index(contig) for contig in own]
        if places != sorted(set(places)):
            raise InputError(
                f"the contigs of {name} come in another order than those of {files[0][0]}: write both in one order, "
                f"contig by contig (bcftools view -r CONTIG,CONTIG,… of an indexed file keeps the order asked for)"
            )
    return {contig: i for i, contig in enumerate(merged)}


def merge_by_position(
    streams: Sequence[Stream], rank: Mapping[str, int]
) -> Iterator[tuple[Place, list[dict[Alleles, list[Record]]]]]:
    """Yield each position that any file has, with the records of every file there, by alleles."""
    iterators = [_by_position(stream, rank) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while any(head is not None for head in heads):
        here = min(head[0] for head in heads if head is not None)
        yield here, [head[1] if head is not None and head[0] == here else {} for head in heads]
        for i, head in enumerate(heads):
            if head is not None and head[0] == here:
                heads[i] = next(iterators[i], None)


def _by_position(stream: Stream, rank: Mapping[str, int]) -> Iterator[tuple[Place, dict[Alleles, list[Record]]]]:
    """Yield each position of a file with its sites there, by alleles; a record with several ALTs is a site for each."""
    place: Place | None = None
    records: dict[Alleles, list[Record]] = {}
    for record in (part for whole in stream.records for part in split(whole)):
        at = (rank[plain_contig(record.contig)], record.pos)
        if at != place:
            if place is not None:
                yield place, records
            place, records = at, {}
        records.setdefault((record.ref, record.alts), []).append(record)
    if place is not None:
        yield place, records


def paired(
    truth: Mapping[Alleles, Sequence[Record]], imputed: Mapping[Alleles, Sequence[Record]]
) -> tuple[list[Pair], list[tuple[Alleles, Alleles]]]:
    """Pair the records of one position.

    Each imputed record takes the truth's record with the same REF and ALT; else with REF and ALT exchanged, if both are as long; else without ALT,
    where REF is one of its alleles; and one without ALT takes the truth's record that has its REF among two alleles. Each
    record is taken once; of records that repeat each other the first.

    Args:
        truth, imputed: the records by REF and ALTs.

    Returns:
        The pairs, and the alleles of those that have an ALT in neither.
    """
    left = dict(truth)
    pairs: list[Pair] = []
    others: list[tuple[Alleles, Alleles]] = []
    for alleles in sorted(imputed, key=lambda alleles: (alleles not in truth, alleles)):  # those of both first
        match = _match(alleles, left)
        if match is None:
            continue
        first, second = left.pop(match)[0], imputed[alleles][0]
        stated = alleles if alleles[1] else match
        if not stated[1]:
            others.append((match, alleles))
            continue
        ref, alt = stated[0], stated[1][0]
        pairs.append(Pair(first, second, ref, alt, first.ref == alt != ref, second.ref == alt != ref))
    return pairs, others


def _match(alleles: Alleles, truth: Mapping[Alleles, Sequence[Record]]) -> Alleles | None:
    ref, alts = alleles
    if alleles in truth:
        return alleles
    if len(alts) == 1:
        # an insertion and the deletion at its place have the same alleles exchanged, and are two variants
        turned = [(alts[0], (ref,))] if len(ref) == len(alts[0]) else []
        candidates = [*turned, (ref, ()), (alts[0], ())]
        return next((candidate for candidate in candidates if candidate in truth), None)
    if not alts:
        return next((key for key in sorted(truth) if len(key[1]) == 1 and ref in (key[0], *key[1])), None)
    return None
