# GILL-Next-CN. `make help` lists the targets. Every path is relative, so a checkout may lie anywhere.
PYTHON ?= python3.11
CORES ?= all
TIER ?= demo
# What a rehearsal is given as checkpoints: the kept models, or a finished run's (results/TIER/models); where it puts them.
MODELS ?= reference/models
REHEARSAL ?= build/rehearsal
# Not empty: bench-gpu at toy size
TOY ?=
# auto, portable or fast; empty: what the settings say
ARITHMETIC ?=

export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
unexport PYTHONPATH

BIN := .venv/bin
LOCKS := envs/pipeline.txt envs/dev.txt envs/peers.txt
# The environment is made anew when the locks change or the checkout moves (its scripts hold absolute paths); the
# package's entry point when pyproject.toml changes.
installed = .installed-$(shell (pwd; cat $(1)) | sha256sum | cut -c1-16)
ENVIRONMENT := .venv/$(call installed,$(LOCKS))
# What a host with containers needs: Snakemake alone.
HOST := .venv-host/$(call installed,envs/host.txt)
# What writes and validates an archive of a run.
ARCHIVE := build/archive/$(call installed,envs/archive.txt)
# What it is made of: a finished run, else the kept one; and where that one's PDF and tables are.
FINISHED = $(wildcard results/$(TIER)/hashes.json)
RELEASED = $(if $(FINISHED),--run results/$(TIER),--run reference/$(TIER) --results results/$(TIER)-reference)
# The peer of `bench-data`, in an environment of its own.
IMG2DATASET := build/img2dataset/$(call installed,benchmarks/data/img2dataset.txt)
PACKAGE := .venv/.package-$(shell sha256sum < pyproject.toml | cut -c1-16)
OVERLAY := $(if $(filter demo,$(TIER)),,--configfile config/$(TIER).yaml) $(if $(filter gpu,$(TIER)),--profile profiles/gpu) \
  $(if $(ARITHMETIC),--config "run={arithmetic: $(ARITHMETIC)}")

# The tier whose supplement is kept.
KEPT_SUPPLEMENT := $(if $(wildcard reference/supplement/hashes.json),demo)

# The world whose foundations are made: drawn, or photos. Debian's package of photographs, and the folder of its cut-outs.
WORLD ?= drawn
DEB ?= build/tuxpaint-stamps-default_2022.06.04-1_all.deb
CUTOUTS := build/photos/objects.csv
# The npm packages of emoji and of their Chinese names, and the folder of their cut-outs.
SPRITES ?= build/emoji-datasource-google-16.0.0.tgz
NAMES ?= build/emojibase-data-17.0.0.tgz
EMOJI := build/emoji/objects.csv

REHEARSE = $(BIN)/gillnext rehearse --config config.yaml config/rehearsal.yaml --models '$(MODELS)'

.PHONY: help env paper paper-from-reference supplement supplement-full supplement-from-reference smoke study photos smoke-emoji foundations rehearsal rehearsal-container rehearsal-sdxl rehearsal-qwen2-vl latex test test-processors test-release lint release host images paper-container test-slurm schema lock bench-data bench-gpu clean-results

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 24

paper: $(PACKAGE) ## environment, then a tier to results/TIER/paper/paper.pdf (TIER=demo, CORES=all)
	$(BIN)/snakemake --cores $(CORES) $(OVERLAY)

smoke: ## the same for the smoke tier: every rule once, tiny
	@$(MAKE) --no-print-directory paper TIER=smoke

study: ## the same for the study: every arm, five seeds for the headline contrasts
	@$(MAKE) --no-print-directory paper TIER=study

paper-from-reference: $(PACKAGE) ## paper, tables and figures of the kept run in reference/TIER/, without training
	$(BIN)/snakemake --cores $(CORES) --config from_reference=reference/$(TIER) -- results/$(TIER)-reference/paper/paper.pdf

supplement: $(PACKAGE) ## end-to-end GILL on this tier's models, to results/TIER/supplement/supplement.pdf (docs/gill.md)
	$(BIN)/snakemake --cores $(CORES) $(OVERLAY) -- results/$(TIER)/supplement/supplement.pdf
	$(if $(filter $(TIER),$(KEPT_SUPPLEMENT)),$(BIN)/gillnext hashes --supplement --results results/$(TIER) --against reference/supplement/hashes.json)

supplement-full: $(PACKAGE) ## the same, with the further trainings of config/supplement-full.yaml
	$(BIN)/snakemake --cores $(CORES) --configfile $(if $(filter demo,$(TIER)),,config/$(TIER).yaml) config/supplement-full.yaml \
	  -- results/$(TIER)/supplement/supplement.pdf

supplement-from-reference: $(PACKAGE) ## the supplement of the kept run in reference/supplement/, without training
	$(BIN)/snakemake --cores $(CORES) --config from_reference=reference/supplement -- results/demo-reference/supplement/supplement.pdf

photos: $(PACKAGE) $(CUTOUTS) ## the headline arms in a world of photographs, on foundations of its own (config/photos.yaml)
	@test -d results/foundations-photos/models/base || { echo "no foundations of this world yet: make foundations WORLD=photos"; exit 1; }
	@$(MAKE) --no-print-directory paper TIER=photos

# Without root: the package is read as an archive, and refused unless it is the one whose SHA-256 the code knows.
$(CUTOUTS): src/gillnext/miniatures/photos.csv | $(PACKAGE)
	test -f '$(DEB)' || { mkdir -p '$(dir $(DEB))' && cd '$(dir $(DEB))' && apt-get download tuxpaint-stamps-default; }
	$(BIN)/gillnext cutouts --deb '$(DEB)' --out $(@D)

smoke-emoji: $(PACKAGE) $(EMOJI) ## every rule once, tiny, in a world of emoji (config/emoji.yaml)
	$(BIN)/snakemake --cores $(CORES) --configfile config/smoke.yaml config/emoji.yaml

# npm downloads the packages and runs nothing of them; they are read as archives, and refused unless the code knows their SHA-256.
$(EMOJI): src/gillnext/miniatures/emoji.csv | $(PACKAGE)
	test -f '$(SPRITES)' || { mkdir -p '$(dir $(SPRITES))' && cd '$(dir $(SPRITES))' && npm pack --ignore-scripts emoji-datasource-google@16.0.0; }
	test -f '$(NAMES)' || { mkdir -p '$(dir $(NAMES))' && cd '$(dir $(NAMES))' && npm pack --ignore-scripts emojibase-data@17.0.0; }
	$(BIN)/gillnext cutouts --emoji '$(SPRITES)' --names '$(NAMES)' --out $(@D)

ifeq ($(WORLD),photos)
foundations: $(PACKAGE) $(CUTOUTS)
	$(BIN)/snakemake --cores $(CORES) --configfile config/foundations-photos.yaml -- models
else
foundations: $(PACKAGE) ## the models that play a role, from nothing, against those that are kept in reference/models/ (WORLD=photos: a second world's)
	$(BIN)/snakemake --cores $(CORES) --configfile config/foundations.yaml -- models
	$(BIN)/gillnext foundations --results results/foundations --against reference/models
endif

rehearsal: $(PACKAGE) ## the wukong tier's graph in minutes: a release behind a loopback server, every model given (out of MODELS)
	$(REHEARSE) --out '$(REHEARSAL)' -- $(BIN)/snakemake --cores $(CORES) --configfile config/rehearsal.yaml

rehearsal-container: $(PACKAGE) $(HOST) ## the same, every job in the image, to results/rehearsal-container/ (needs Apptainer)
	$(REHEARSE) --out '$(REHEARSAL)' -- .venv-host/bin/snakemake --cores $(CORES) --use-singularity --configfile config/rehearsal.yaml

rehearsal-sdxl: $(PACKAGE) ## the same with a base of SDXL's class, to $(REHEARSAL)-sdxl/results/
	$(REHEARSE) --base sdxl --out '$(REHEARSAL)-sdxl' -- $(BIN)/snakemake --cores $(CORES) \
	  --snakefile Snakefile --directory '$(REHEARSAL)-sdxl' --configfile config/rehearsal.yaml

rehearsal-qwen2-vl: $(PACKAGE) ## the same with Qwen2-VL's class as annotator, to $(REHEARSAL)-qwen2-vl/results/
	$(REHEARSE) --annotator qwen2-vl --out '$(REHEARSAL)-qwen2-vl' -- $(BIN)/snakemake --cores $(CORES) \
	  --snakefile Snakefile --directory '$(REHEARSAL)-qwen2-vl' --configfile config/rehearsal.yaml

latex: ## paper/latex.tex around a finished run's tables and figures, to results/TIER/latex/latex.pdf (needs lualatex)
	@command -v lualatex > /dev/null || { echo "no lualatex here; paper/latex.tex names Debian's packages"; exit 1; }
	@test -d results/$(TIER)/figures || { echo "results/$(TIER) has no figures; make paper TIER=$(TIER) makes them"; exit 1; }
	mkdir -p results/$(TIER)/latex
	cp -r paper/latex.tex results/$(TIER)/tables results/$(TIER)/figures results/$(TIER)/latex
	cd results/$(TIER)/latex && lualatex -interaction=nonstopmode -halt-on-error latex.tex > lualatex.out || { tail -n 20 lualatex.out; exit 1; }

test-processors: smoke ## every kind of stage at toy size on emulated processors, for the same bits (needs qemu-user; an hour or more; goes on where it was)
	$(BIN)/python tests/processors/emulate.py --run results/smoke --out build/processors

test: $(PACKAGE) test-release ## environment, then all tests
	$(BIN)/python -m pytest

test-release: $(ARCHIVE) ## the tests of the archive alone, in its own environment
	PYTHONPATH=src $(dir $(ARCHIVE))bin/python -m pytest tests/archive

release: $(ARCHIVE) ## the archive of a finished run, else of the kept one, to build/release/TIER.zip: validated, ready for a DOI
	PYTHONPATH=src $(dir $(ARCHIVE))bin/python -m gillnext.cli archive $(RELEASED) --out build/release/$(TIER)

lint: $(PACKAGE) ## the checks of style and types alone
	$(BIN)/python -m pytest tests/workflow/test_style.py

env: $(PACKAGE) ## the environment alone, in .venv

paper-container: $(HOST) ## as paper, every job in the image, to results/TIER-container/ (needs Apptainer)
	.venv-host/bin/snakemake --cores $(CORES) --use-singularity $(OVERLAY)

images: ## the container image, unless these locks have one
	containers/build.sh

host: $(HOST) ## Snakemake alone, in .venv-host

test-slurm: $(HOST) ## the smoke tier in containers through a real Slurm on this machine (as root)
	tests/cluster/slurm.sh

$(ENVIRONMENT): REQUIRED := $(LOCKS)
$(HOST): REQUIRED := envs/host.txt
$(ARCHIVE): REQUIRED := envs/archive.txt
$(IMG2DATASET): REQUIRED := benchmarks/data/img2dataset.txt
$(ENVIRONMENT) $(HOST) $(ARCHIVE) $(IMG2DATASET):
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --no-deps --require-hashes --progress-bar off $(addprefix -r ,$(REQUIRED))
	touch $@

$(PACKAGE): $(ENVIRONMENT)
	$(BIN)/python -m pip install --no-deps --no-build-isolation --no-index --quiet --editable .
	rm -f .venv/.package-*
	touch $@

schema: $(PACKAGE) ## config/schema.json from the dataclasses
	$(BIN)/gillnext schema > config/schema.json.new
	mv config/schema.json.new config/schema.json

lock: ## envs/*.txt from envs/*.in, with hashes
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet uv
	for set in pipeline dev host archive; do \
	  build/lock/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --no-emit-index-url --output-file envs/$$set.txt envs/$$set.in || exit 1; \
	done
	build/lock/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-deps --output-file envs/peers.txt envs/peers.in
	build/lock/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --output-file benchmarks/data/img2dataset.txt benchmarks/data/img2dataset.in

bench-data: smoke $(IMG2DATASET) ## the data stages' throughputs beside their peers', and kills at random moments (30 min)
	cd benchmarks/data && ../../$(BIN)/python keyword_pass.py
	cd benchmarks/data && ../../$(BIN)/python release.py
	cd benchmarks/data && ../../$(BIN)/python download.py --img2dataset ../../$(dir $(IMG2DATASET))bin/img2dataset
	cd benchmarks/data && ../../$(BIN)/python labels.py --model ../../results/smoke/models/classifier
	cd benchmarks/data && ../../$(BIN)/python labels.py --chat --model ../../results/smoke/models/classifier
	cd benchmarks/data && ../../$(BIN)/python annotation.py
	cd benchmarks/data && ../../$(BIN)/python split.py
	$(BIN)/python benchmarks/data/kills.py --results results/smoke

bench-gpu: $(PACKAGE) ## ten minutes of one GPU, to build/gpu/: stages, Kolors' size, language models, bases (TOY=1: tiny, on a CPU as well)
	$(BIN)/python benchmarks/gpu/run.py --models reference/models --out build/gpu $(if $(TOY),--toy)

clean-results: ## delete everything that the workflow made
	rm -rf results .snakemake
