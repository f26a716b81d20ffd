"""Genome builds, recognised by the contig lengths in a file's header."""

from __future__ import annotations

from collections.abc import Mapping

# Lengths of chromosomes 1, 2, 3, …, X in bases (NCBI Assembly; UCSC chrom.sizes).
LENGTHS = {
    "GRCh37": (
        *(249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747),
        *(135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520),
        *(48129895, 51304566, 155270560),
    ),
    "GRCh38": (
        *(248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422),
        *(135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167),
        *(46709983, 50818468, 156040895),
    ),
    "UMD3.1": (
        *(158337067, 137060424, 121430405, 120829699, 121191424, 119458736, 112638659, 113384836, 105708250, 104305016),
        *(107310763, 91163125, 84240350, 84648390, 85296676, 81724687, 75158596, 66004023, 64057457, 72042655),
        *(71599096, 61435874, 52530062, 62714930, 42904170, 51681464, 45407902, 46312546, 51505224, 148823899),
    ),
    "ARS-UCD1.2": (
        *(158534110, 136231102, 121005158, 120000601, 120089316, 117806340, 110682743, 113319770, 105454467, 103308737),
        *(106982474, 87216183, 83472345, 82403003, 85007780, 81013979, 73167244, 65820629, 63449741, 71974595),
        *(69862954, 60773035, 52498615, 62317253, 42350435, 51992305, 45612108, 45940150, 51098607, 139009144),
    ),
}


def plain_contig(name: str) -> str:
    """Return a contig's name in one spelling: without `chr`, in capitals, MT for M."""
    plain = name.upper().removeprefix("CHR")
    return "MT" if plain == "M" else plain or name.upper()


def build_of(contig_lengths: Mapping[str, int]) -> str:
    """Return the known build that shares a chromosome's name and length with the header; empty if none or several do.

    Args:
        contig_lengths: contig → length in bases, as far as the header gives them.
    """
    given = {(plain_contig(contig), length) for contig, length in contig_lengths.items()}
    builds = []
    for build, lengths in LENGTHS.items():
        names = [*map(str, range(1, len(lengths))), "X"]
        if given & set(zip(names, lengths, strict=True)):
            builds.append(build)
    return builds[0] if len(builds) == 1 else ""
