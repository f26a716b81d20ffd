"""Settings: defaults, paths, and what is refused, in one line that names the key."""

from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.cli import options
from snpimpute.experiment import settings as config


def read(tmp_path: Path, text: str) -> config.ExperimentSettings:
    (tmp_path / "x.toml").write_text(text)
    return config.read(tmp_path / "x.toml")


def test_the_default_is_the_published_protocol(tmp_path):
    settings = read(tmp_path, "")
    assert settings.data["bulls"].source == "simulated"
    assert settings.data["bulls"].scenarios.levels == (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    assert (settings.tuning.trials, settings.scoring.headline_level) == (50, 60)
    assert settings.name == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such = 1", "unknown key 'no_such'"),
        ("[data.a]\nregin = '1'", r"unknown key 'data\.a\.regin'"),
        ("seed = 'one'", "seed: Input should be a valid integer"),
        ("[data.a.scenarios]\nlevels = [0]", "level 0 is not a percentage above 0 and below 100"),
        ("[data.a.scenarios]\nlevels = [100]", "level 100 is not a percentage above 0 and below 100"),
        ("[data.a.split]\nscheme = 'cousins'", r"data\.a\.split\.scheme"),
        ("[data.a]\ntrain = 'x.vcf.gz'", "`train` and `test` go together"),
        ("[data.a.scenarios]\nmechanisms = ['file']", "go together"),
        ("[data.'../up']\n", "letters, digits"),
        ("[data.a]\nregions = { sites = 1, count = 5 }", r"data\.a\.regions\.sites"),
        ("[data.a]\ntrain = 'x.vcf'\ntest = 'y.vcf'\nmax_samples = 9", "are taken from one `source`"),
        ("[data.a.scenarios]\nmechanisms = ['blocks']\nmax_missing = 2", "`max_missing` goes with these mechanisms"),
        ("name = ", "is not TOML"),
    ],
)
def test_what_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "x.toml" in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        config.read(tmp_path / "none.toml")


def test_paths_start_at_the_file_and_variables_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PANELS", "/panels")
    settings = read(tmp_path, "[data.a]\nsource = 'a.vcf.gz'\nsamples = '$PANELS/s.tsv'")
    assert settings.data["a"].source == str(tmp_path / "a.vcf.gz")
    assert settings.data["a"].samples == Path("/panels/s.tsv")
    monkeypatch.delenv("PANELS")
    with pytest.raises(InputError, match="not set"):
        read(tmp_path, "[data.a]\nsource = '$PANELS/a.vcf.gz'")


def test_the_command_line_has_the_last_word(tmp_path):
    settings = read(tmp_path, "[budgets.bert]\ntrials = 3")
    changed = config.changed(settings, trials=7, seed=5)
    assert changed.budget("bert").trials == 7 and changed.budget("dense").trials == 7
    assert changed.seed == 5
    with pytest.raises(InputError, match="trials"):
        config.changed(settings, trials=0)


def test_part_of_an_experiment(tmp_path):
    settings = read(tmp_path, "[data.a]\n[data.b]\n[tuning]\nparameters = 'found'")
    assert settings.tuning.parameters == tmp_path / "found" and not settings.tuning.retune
    part = config.changed(settings, only_data=["b"], retune=True)
    assert list(part.data) == ["b"] and part.tuning.retune
    with pytest.raises(InputError, match="no dataset 'c' in this experiment: it has a, b"):
        config.changed(settings, only_data=["c"])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), (" 2h ", 7200)])
def test_times(text, seconds):
    assert config.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10 days", "-5m", "0m"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="is not a time: give 90s, 10m or 2h"):
        config.seconds_of(text)


def test_a_time_without_a_unit_is_refused_with_the_ways_to_write_it():
    with pytest.raises(InputError, match=r"^the time '5' has no unit: write 5s, 5m or 5h$"):
        config.seconds_of("5")


def test_own_data_needs_nothing_but_the_file():
    settings = config.for_genotypes(Path("my data.vcf.gz"), region="28:1-2000000")
    assert list(settings.data) == ["my-data-28-1-2000000"]
    data = settings.data["my-data-28-1-2000000"]
    assert data.region == "28:1-2000000" and data.max_sites == 500


def test_what_is_learned_from_other_data_has_another_name():
    """File, region and seed are in the name, or it is the user's own; too long a name still tells regions apart."""

    def name(**given: object) -> str:
        settings = options.settings_for(Path("mine.vcf.gz"), **given)
        assert list(settings.data) == [settings.name]
        return settings.name

    assert name() == name(seed=1) == "mine"
    assert name(region="5") == "mine-5" and name(region="14", seed=2) == "mine-14-seed2"
    assert name(region="5", quick=True) == "mine-5-quick"
    assert name(region="5", seed=2, name="calves") == "calves"
    long = [name(region=";".join(f"{n}:1-2000000" for n in (*range(1, 20), last))) for last in (20, 21)]
    assert long[0] != long[1] and all(len(one) == 100 for one in long)
    with pytest.raises(InputError, match=r"'\.\./x' is not a name"):
        name(name="../x")


def test_a_quick_look_is_short_and_has_no_networks():
    quick = options.settings_for(Path("mine.vcf.gz"), quick=True)
    data = quick.data["mine-quick"]
    assert data.scenarios.levels == (20, 60, 90) and data.scenarios.repeats == 1
    assert quick.tuning.trials == 5 and quick.tuning.seconds == 30
    assert "beagle" in quick.imputers and not {"bert", "cae", "dense", "dense_emb"} & set(quick.imputers)
    own = options.settings_for(Path("mine.vcf.gz"), quick=True, levels="10, 50%", trials=7, only=["bert"])
    assert own.data["mine-quick"].scenarios.levels == (10, 50) and own.tuning.trials == 7 and own.imputers == ("bert",)


@pytest.mark.parametrize("levels", ["low", "20,,60", "20,0", "20,100"])
def test_levels_that_are_none(levels):
    with pytest.raises(InputError, match="levels"):
        options.settings_for(Path("mine.vcf.gz"), levels=levels)


def test_a_pedigree_of_a_genotype_file():
    assert options.settings_for(Path("a.bed"), pedigree=Path("p.tsv")).data["a"].pedigree == Path("p.tsv")


@pytest.mark.parametrize(
    ("text", "said"),
    [("20", "--holdout 20 is more than all: give 20%, or 0.2"), ("1.5", "150%|1.5%"), ("a fifth", "is no share")],
)
def test_what_is_no_share(text, said):
    with pytest.raises(InputError, match=said):
        options.share_of(text, "--holdout")
    assert options.share_of("20%", "--holdout") == options.share_of("0.2", "--holdout") == 0.2
    assert options.share_of("1", "--min-call-rate") == 1


def test_call_rate_of_a_genotype_file(tmp_path):
    settings = options.settings_for(Path("my data.pgen"), min_call_rate="60%")
    assert settings.data["my-data"].filter.min_call_rate == 0.6
    with pytest.raises(InputError, match=r"--min-call-rate goes with a genotype file; in an experiment"):
        options.settings_for(tmp_path / "a.toml", min_call_rate="60%")
