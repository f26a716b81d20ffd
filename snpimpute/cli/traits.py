"""Verbs on genotypes with traits: associate, finemap, consequence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from snpimpute.base.errors import InputError
from snpimpute.cli.experiments import Asked, run_until
from snpimpute.cli.options import (
    AsJson,
    Covariates,
    Force,
    Imputers,
    Region,
    Runs,
    Threads,
    columns_of,
    report_folder,
    settings_for,
    share_of,
    tell,
)

app = typer.Typer()

TraitTable = Annotated[
    Path,
    typer.Option(
        help="Table of traits and covariates (TSV, or .csv): sample, id or IID, and a column each; NA if unknown."
    ),
]
SampleColumn = Annotated[
    str | None, typer.Option(help="Column of the table with the samples' names (sample, id or IID if not given).")
]
Map = Annotated[Path | None, typer.Option("--map", help="Genetic map in PLINK format (contig, id, cM, pos).")]


@app.command()
def associate(
    genotypes: Annotated[
        Path, typer.Argument(help="Genotypes, imputed or not: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen.")
    ],
    traits: TraitTable,
    trait: Annotated[str, typer.Option(help="Column of the trait; 0/1 or 1/2 is a binary one.")],
    covariates: Covariates = None,
    pcs: Annotated[int, typer.Option(min=0, help="Number of principal components of the genotypes to add.")] = 0,
    model: Annotated[
        str, typer.Option(help="linear, logistic or mixed (for relatives); auto: by the relatives that are found.")
    ] = "auto",
    region: Region = None,
    min_maf: Annotated[float, typer.Option(min=0, max=0.5, help="Test only sites with this MAF or more.")] = 0.0,
    map_file: Map = None,
    sample_column: SampleColumn = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results (default: GENOTYPES.TRAIT).")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Test each site for an effect on a trait, with imputed dosages where they are there; write GWAS-SSF and figures.

    Examples:

      snpimpute associate imputed.vcf.gz --traits bulls.tsv --trait milk --covariates age

      snpimpute associate imputed.bcf --traits t.tsv --trait case --pcs 4 --region 15:27800000-28000000 -o milk
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.progress import watch
    from snpimpute.io.maps import GeneticMap
    from snpimpute.io.stream import stem
    from snpimpute.report.text import slug_of
    from snpimpute.traits.associate import AssociationSettings
    from snpimpute.traits.associate import associate as tested
    from snpimpute.traits.association_page import FILES, as_dict, summary, write_association

    require_package("matplotlib", "associate")
    folder = report_folder(output or Path(f"{stem(genotypes)}.{slug_of(trait)}"), FILES, force)
    genetic_map = None if map_file is None else GeneticMap.read(map_file)
    settings = AssociationSettings(
        genotypes,
        traits,
        trait,
        covariates=columns_of(covariates),
        components=pcs,
        model=model,
        region=region,
        min_maf=min_maf,
        sample_column=sample_column,
        threads=threads or len(os.sched_getaffinity(0)),
    )
    with watch() as watching:
        found = tested(settings, watching)
        watching.stage("writing")
        page = write_association(found, folder, genetic_map)
    files = [f"page: {page}", f"table (GWAS-SSF): {page.with_name('association.tsv')}"]
    tell([*summary(found), *files], as_dict(found) | {"page": str(page)}, as_json)


@app.command()
def finemap(
    gwas: Annotated[
        Path, typer.Argument(help="Association results, as associate writes them (TSV of the GWAS Catalog's columns).")
    ],
    genotypes: Annotated[
        Path,
        typer.Argument(
            help="Genotypes whose LD is taken, best of the same samples: .vcf.gz, .bcf, .vcz, .bed or .pgen."
        ),
    ],
    region: Region = None,
    p: Annotated[
        float, typer.Option("--p", min=0, max=1, help="Largest p-value of a leading site, where no region is given.")
    ] = 5e-8,
    effects: Annotated[int, typer.Option(min=1, help="Most causal sites of a locus.")] = 10,
    refine: Annotated[
        bool,
        typer.Option(
            help="Look beyond the first optimum of SuSiE: more causal sites are found, in three to ten times the time. Not over draws."
        ),
    ] = True,
    purity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Least |r| between two sites of a credible set; smaller ones give more and wider sets.",
        ),
    ] = 0.5,
    samples: Annotated[
        int | None, typer.Option("--n", min=3, help="Number of samples of the results, where they do not have it.")
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(
            help="Of two sites within 500 kb whose r² is larger, fine-map one (LD pruning by plink2); lead sites stay."
        ),
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="Annotations with weights (BED, weight in column 4 or 5; 1 elsewhere).")
    ] = None,
    blocks: Annotated[
        Path | None, typer.Option(help="Haplotype blocks (BED; found by PLINK 1.9 if not given).")
    ] = None,
    known: Annotated[
        Path | None, typer.Option(help="Known loci: a .bed, or the GWAS Catalog's TSV of associations.")
    ] = None,
    genes: Annotated[Path | None, typer.Option(help="Genes (GFF3).")] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            help="Folder of draws (impute --draws): SuSiE runs on each, by --traits and --trait, and probabilities are averaged."
        ),
    ] = None,
    traits: Annotated[Path | None, typer.Option(help="Table of traits and covariates, for --draws.")] = None,
    trait: Annotated[str | None, typer.Option(help="Column of the trait, for --draws.")] = None,
    covariates: Covariates = None,
    sample_column: SampleColumn = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results (default: GENOTYPES.finemap).")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fine-map association results: credible sets by SuSiE, haplotype blocks ranked, in formats that other tools read.

    Examples:

      snpimpute finemap imputed.milk/association.tsv imputed.vcf.gz

      snpimpute finemap milk/association.tsv imputed.vcf.gz --draws imputed.draws --traits bulls.tsv --trait milk

      snpimpute finemap gwas.tsv panel.bcf --region 15:27800000-28000000 --prior coding.bed --genes genes.gff3 -o found
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.progress import watch
    from snpimpute.io.stream import stem
    from snpimpute.traits.finemap import FineMapSettings, fine_map
    from snpimpute.traits.finemap_files import FILES, as_dict
    from snpimpute.traits.finemap_page import summary, write_fine_map

    require_package("pysusie", "finemap")
    folder = report_folder(output or Path(f"{stem(genotypes)}.finemap"), FILES, force)
    settings = FineMapSettings(
        gwas,
        genotypes,
        region,
        p,
        effects,
        refine,
        purity,
        samples,
        prune,
        prior,
        blocks,
        known,
        genes,
        draws=draws,
        traits=traits,
        trait=trait,
        covariates=columns_of(covariates),
        sample_column=sample_column,
    )
    with watch() as watching:
        found = fine_map(settings, watching)
        watching.stage("writing")
        page = write_fine_map(found, folder)
    files = [f"page: {page}", f"beside it: {', '.join(FILES[1:])}"]
    tell([*summary(found), *files], as_dict(found) | {"page": str(page)}, as_json)


@app.command()
def consequence(
    truth: Annotated[
        Path,
        typer.Argument(help="True genotypes: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen; or an experiment (.toml)."),
    ],
    imputed: Annotated[
        list[Path] | None, typer.Argument(help="Imputed files of the same samples, of whichever programs.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Name of an imputed file in the results; once for each, in their order.")
    ] = None,
    typed: Annotated[
        Path | None,
        typer.Option(
            help="Typed sites: genotypes, or a list. Causal sites are then among the others; adds a row of these alone."
        ),
    ] = None,
    traits: Annotated[
        Path | None, typer.Option(help="Table of real traits (TSV or .csv); without it traits are simulated.")
    ] = None,
    trait: Annotated[
        list[str] | None, typer.Option(help="Column of a real trait; may be given several times (all if not given).")
    ] = None,
    covariates: Covariates = None,
    sample_column: SampleColumn = None,
    simulate: Annotated[int, typer.Option(min=2, help="Number of simulated traits.")] = 200,
    causal: Annotated[int, typer.Option(min=1, help="Causal sites of a simulated trait.")] = 1,
    variance: Annotated[str, typer.Option(help="Share of a trait's variance that they make: 2% or 0.02.")] = "2%",
    min_maf: Annotated[float, typer.Option(min=0, max=0.5, help="Causal sites have a MAF above this.")] = 0.01,
    finemapped: Annotated[int, typer.Option(min=0, help="Number of traits that are fine-mapped too.")] = 70,
    way: Annotated[
        list[str] | None,
        typer.Option(
            help="Fine-map in this way, too: dr2, or variance or draws (by impute --draws, beside each file); may be given several times."
        ),
    ] = None,
    region: Region = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 1,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results (default: TRUTH.consequence).")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Tell what imputing changes in the conclusion: association, fine-mapping and prediction, beside true genotypes.

    Of an experiment it is told in its report, with the imputers as rows: as compare --consequence, which is run (with --runs and
    --imputer alone).

    Examples:

      snpimpute consequence truth.vcf.gz imputed.vcf.gz --typed target.vcf.gz

      snpimpute consequence truth.bcf a.bcf b.bcf --label A --label B --traits bulls.tsv --trait milk -o compared

      snpimpute consequence truth.vcf.gz imputed.vcf.gz --typed target.vcf.gz --way draws --way dr2

      snpimpute consequence experiments/demo.toml
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.files import require_writable
    from snpimpute.base.progress import watch
    from snpimpute.io.stream import stem
    from snpimpute.traits.consequence import ConsequenceSettings, compare_conclusions, parts_of
    from snpimpute.traits.consequence_page import FILES, as_dict, summary, write_consequence
    from snpimpute.traits.simulated import TraitModel

    require_package("pysusie", "consequence")
    if truth.suffix == ".toml":
        if imputed:
            raise InputError(f"{truth} is an experiment, whose imputers are compared: leave out {imputed[0]}")
        run_until("compare", Asked(settings_for(truth, consequence=True), runs, imputer, as_json))
        return
    if not imputed:
        raise InputError(f"name the imputed files to compare with {truth}, or give an experiment (.toml)")
    if traits is None and (trait or covariates or sample_column):
        raise InputError(
            "--trait, --covariates and --sample-column name columns of a table of real traits: give --traits, too"
        )
    folder = report_folder(output or Path(f"{stem(truth)}.consequence"), FILES, force)
    require_writable(runs)
    settings = ConsequenceSettings(
        truth,
        tuple(imputed),
        labels=tuple(label or ()),
        typed=typed,
        region=region,
        traits=traits,
        columns=tuple(trait or ()),
        covariates=columns_of(covariates),
        model=TraitModel(simulate, causal, share_of(variance, "--variance"), min_maf, seed=seed),
        finemapped=finemapped,
        ways=tuple(way or ()),
        sample_column=sample_column,
    )
    with watch() as watching, parts_of(settings, runs, watching) as parts:
        found = compare_conclusions(settings, watching, parts.keep)
        watching.stage("writing")
        page = write_consequence(found, folder)
    files = [f"page: {page}", f"beside it: {', '.join(FILES[1:])}"]
    tell([*summary(found), *files], as_dict(found) | {"page": str(page)}, as_json)
