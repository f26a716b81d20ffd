# Everything a user or a developer runs; `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := 0.13.9
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := true

.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint panels reference simpute mosaic race panels-test fuzz ui dashboard docs pictures clean-runs lock licences

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: system $(VENV)/.done ## Virtual environment from the lock (5 GB on the disk), and the programs that apt has

$(VENV)/.done: requirements.lock pyproject.toml
	@echo "setup: a virtual environment in $(VENV), with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@sh scripts/install-lock.sh $(BIN)/python
	@echo "setup: snpimpute itself"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

system:
	@sh scripts/system-packages.sh beagle minimac4 plink plink1.9 plink2 gemma bcftools tabix chromium

demo: setup ## Five imputers on the simulated bulls, with a small budget: about a quarter of an hour on 2 slow cores
	$(BIN)/snpimpute experiment experiments/demo.toml

test: setup lint ## Linters, types, import contracts, and the whole test suite
	@sh scripts/system-packages.sh postgresql shapeit4 r-cran-susier || true  # without them the tests of shared databases, of SHAPEIT4 and against susieR are skipped
	@sh scripts/system-packages.sh chromium-headless-shell || true  # a lighter browser; without it the tests take chromium
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not panels"

lint: $(VENV)/.done
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

panels: setup ## Five imputers on the real panels that SNPIMPUTE_PANELS names, with their masks: some hours
	$(BIN)/snpimpute experiment experiments/panels.toml
	mkdir -p docs/results/panels
	cp runs/reports/panels/report.md runs/reports/panels/*.png docs/results/panels/

reference: setup ## The published protocol on the real panels and the simulated bulls: hours; goes on where it was
	$(BIN)/snpimpute experiment experiments/reference.toml
	mkdir -p docs/results/reference
	cp runs/reports/reference/report.md runs/reports/reference/*.png docs/results/reference/

simpute: setup ## Simpute against the classical methods, in its paper's regimes: about an hour; goes on where it was
	$(BIN)/snpimpute experiment experiments/simpute.toml
	$(BIN)/python scripts/simpute_results.py

mosaic: setup ## Mosaic against the others in the 500-site protocol, and what it costs: hours; goes on where it was
	$(BIN)/snpimpute experiment experiments/mosaic.toml
	$(BIN)/python benchmarks/mosaic_cost.py --to docs/results/mosaic-commands.csv
	$(BIN)/python scripts/mosaic_tables.py
	$(BIN)/python scripts/mosaic_results.py

race: setup ## The networks with what their studies found, beside tuned opponents: hours; goes on where it was
	$(BIN)/snpimpute experiment experiments/networks.toml
	for seed in 2 3; do $(BIN)/snpimpute experiment experiments/networks.toml --seed $$seed --runs runs/seeds/$$seed \
		--data kg15-500 --data cattle-chr1 --imputer dense --imputer dense_emb --imputer cae; done
	$(BIN)/python scripts/race.py --seed 2=runs/seeds/2 --seed 3=runs/seeds/3
	$(BIN)/python scripts/evidence.py

fuzz: setup ## 5,000 damaged files (the suite tries 200) through check, prepare, concordance and impute
	SNPIMPUTE_DAMAGED_FILES=5000 $(BIN)/python -m pytest tests/damage

panels-test: setup ## Slow checks on the real panels that SNPIMPUTE_PANELS names
	$(BIN)/python -m pytest -m panels

ui: setup ## The MLflow UI on http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/runs/mlflow.db

dashboard: setup ## The dashboard on http://127.0.0.1:8501
	$(BIN)/snpimpute dashboard

docs: setup ## The documentation as a site, in build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

pictures: setup ## The README's pictures of the dashboard, from what `make demo` left in runs/
	$(BIN)/python scripts/dashboard_pictures.py

clean-runs: ## Remove everything that experiments have made in runs/
	rm -rf runs

lock: ## Write requirements.lock, and the pins of conda.yaml, from what the virtual environment holds
	$(PYTHON) -m venv build/uv  # apart from the rest: Prefect's workers would use a uv that they find
	build/uv/bin/python -m pip install -qq --disable-pip-version-check uv==$(UV)
	$(BIN)/python scripts/lock.py build/uv/bin/uv

licences: $(VENV)/.done ## The licences of all dependencies, and what each is needed for
	@$(BIN)/python scripts/licences.py
