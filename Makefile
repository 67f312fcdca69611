# All that is needed is python3.11 (or later), make and pip. Everything else goes into .venv. `make help` lists the targets.

PYTHON ?= python3
CORES ?= all
BIN := .venv/bin

.PHONY: help run smoke doom watch report config test test-fast test-cluster test-conda test-gpu bench lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run ## run everything, from nothing to results/carracing/eval.json, with all cores or CORES=4
	$(BIN)/snakemake --cores $(CORES) --quiet host rules

smoke: .venv/run ## run the whole chain in three minutes, to see that it works
	$(BIN)/snakemake --cores $(CORES) --quiet host rules --configfile presets/smoke.yaml

doom: .venv/doom ## train an agent for VizDoom's Take Cover in dreams, and test it in the game: results/takecover
	$(BIN)/snakemake --cores $(CORES) --quiet host rules --configfile presets/doom.yaml

watch: .venv/run ## show the curves of all runs in results/ while they train; prints the address for your browser
	$(BIN)/tensorboard --logdir results

report: .venv/run ## write one HTML file that shows what `make run` made: results/carracing/report.html
	$(BIN)/snakemake --report results/carracing/report.html

config: .venv/run ## write config.yaml and docs/configuration.md, after a change of the configuration's fields
	cd scripts && ../$(BIN)/python -m worldmodels.runtime.config_file > ../config.yaml
	cd scripts && ../$(BIN)/python -m worldmodels.workflow.config_page > ../docs/configuration.md

test-fast: .venv/dev ## run the unit tests, which start no programs
	$(BIN)/python -m pytest -n 2 tests/unit

test: .venv/dev ## run the test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder tests

test-cluster: .venv/dev ## try the SLURM profile on a real scheduler (as root on Debian)
	$(BIN)/python -m pytest -rP -n 4 --dist worksteal tests/cluster

test-conda: .venv/dev ## try --use-conda with a real conda client
	$(BIN)/python -m pytest -rP tests/conda

test-gpu: .venv/dev ## test training and playing on a GPU
	$(BIN)/python -m pytest tests/gpu

bench: .venv/run ## time every stage against the plain way and the machine's limit, with the models of results/carracing
	$(BIN)/python -m bench.all

lint: .venv/dev ## check style and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

# Debian's python3 has no ensurepip, so the machine's pip fills the environment. One that was made by hand, as for a
# cluster, is added to, not cleared: jobs may be running in it.
.venv/run: requirements.txt requirements-library.txt requirements-envpool.txt requirements-tensorboard.txt
	$(PYTHON) -m venv --without-pip $(if $(wildcard .venv/run),--clear) .venv
	$(PYTHON) -m pip --python $(BIN)/python install -q -r requirements.txt
	$(PYTHON) -m pip --python $(BIN)/python install -q -r requirements-envpool.txt \
	  || echo "EnvPool has no wheel for this machine: gymnasium will step everything, about eight times slower"
	$(PYTHON) -m pip --python $(BIN)/python install -q -r requirements-tensorboard.txt \
	  || echo "TensorBoard cannot be installed: the stages will write no curves"
	touch $@

.venv/doom: .venv/run requirements-doom.txt
	$(PYTHON) -m pip --python $(BIN)/python install -q -r requirements-doom.txt
	touch $@

.venv/dev: .venv/run requirements-dev.txt requirements-doom.txt requirements-minari.txt requirements-slurm.txt requirements-mpi.txt
	$(PYTHON) -m pip --python $(BIN)/python install -q -r requirements-dev.txt
	touch $@
