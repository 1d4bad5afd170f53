# Everything a developer or a newcomer types. `make help` lists it.
PYTHON ?= python3
UV := .run/tools/bin/uv
VENV := .venv
TRITON_VENV := .venv-triton
BIN := $(VENV)/bin
ENGINE ?= docker
# Tests that watch how long things take, or what a machine's every process does: one at a time. The others run two at a time.
ALONE := tests/faults $(addprefix tests/integration/, test_bench.py test_canary_counts.py test_fleet.py \
	test_metrics.py test_ratelimit.py test_rollout_workers.py test_rollouts.py test_stack.py test_triton_priority.py test_up.py)
# PYTHON is what the environments are made of where it is given; else uv may look for and, where there is network access,
# fetch one that fits.
CHOSEN := $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
FITS := >=3.11
FITS_TRITON := >=3.11,<3.13
UV_VENV := $(UV) venv --quiet --clear --no-project

.DEFAULT_GOAL := help
.PHONY: help setup programs up check format test accuracy counted screenshots secrets image sbom audit bench bench-peers bench-against profile bench-limits bench-overload bench-mirror bench-hot-path bench-capacity fuzz hostile train lock clean export-models bench-models trace perf-analyzer faults soak

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed $(TRITON_VENV)/.installed ## Install everything, locked, into .venv and .venv-triton

up: setup ## Start Triton, Redis and the gateway; Ctrl-C stops them
	@exec $(BIN)/python dev/up.py

check: setup ## Format, lint, types, layers, locked requirements and what is known against them, manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(UV) pip check --quiet --python $(BIN)/python
	$(BIN)/python dev/check_locks.py $(UV)
	$(BIN)/python dev/audit.py
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/python dev/check_manifests.py

format: setup ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup programs ## All tests, against a real Triton, a real Redis and a real browser
	$(BIN)/pytest -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE))
	$(BIN)/pytest $(ALONE)

programs: setup # What the tests need besides Python packages: a browser, and Prometheus's own tool
	@$(BIN)/python dev/system_packages.py chromium promtool wrk

accuracy: setup ## Held-out accuracy of the demo models, offline and through a running gateway
	$(BIN)/python dev/accuracy.py

secrets: setup ## Draw the secrets that compose.yaml mounts, into secrets/
	@$(BIN)/python dev/deployment_secrets.py

sbom: setup ## What the gateway is made of, as CycloneDX, into .run/sbom.json
	$(BIN)/cyclonedx-py requirements requirements/gateway.txt --pyproject pyproject.toml --output-reproducible -o .run/sbom.json

audit: setup ## What is known against the packages that serve; `make check` asks too, this fails where nobody answers
	$(BIN)/python dev/audit.py --insist

image: ## Build the gateway's image and that of Triton on CPU (ENGINE=podman or buildah where there is no docker)
	$(ENGINE) build $(ENGINE_FLAGS) -f gateway/Dockerfile -t triton-gateway .
	$(ENGINE) build $(ENGINE_FLAGS) -f triton/Dockerfile -t triton-cpu .

bench: setup bench-peers ## Everything a user might pick instead, side by side: docs/benchmarks.md (QUICK=1 only shows that it runs)
	PYTHONPATH=dev:benchmarks $(BIN)/python -m bench $(if $(QUICK),--quick --report .run/bench/benchmarks.md)

bench-against: setup ## The gateway of another commit beside this one, by turns: REV=HEAD~1
	PYTHONPATH=dev:benchmarks $(BIN)/python -m bench.against $(or $(REV),HEAD~1)

profile: setup ## Where a request's microseconds go in the gateway: the table of docs/performance.md
	PYTHONPATH=dev:benchmarks $(BIN)/python -m bench.stages

bench-peers: setup # The contestants' environments, and the programs that the bench calls
	@$(BIN)/python dev/system_packages.py wrk nginx
	@PYTHONPATH=dev:benchmarks $(BIN)/python -m bench.peers

bench-limits: setup ## Quotas, revocation, a noisy neighbour, Redis frozen and killed: the figures of docs/limits.md
	PYTHONPATH=dev $(BIN)/python benchmarks/limits.py

bench-overload: setup ## Twice and five times what the model can take, and a flood of batch: the other figures
	PYTHONPATH=dev $(BIN)/python benchmarks/overload.py

bench-hot-path: setup ## What the door costs: CPU a request with all of it on and with all of it off
	PYTHONPATH=dev $(BIN)/python benchmarks/hot_path.py

bench-capacity: setup ## What a request costs by its kind, and what 100 to 10,000 a second need: the figures of docs/scale.md
	PYTHONPATH=dev $(BIN)/python benchmarks/capacity.py

counted: setup ## 10,000 requests to two workers, one killed half-way: does /metrics agree with the client?
	$(BIN)/python dev/counted.py

trace: setup ## One request as the trace that arrives at a collector, Triton's own spans included
	$(BIN)/python dev/one_trace.py

screenshots: setup programs ## Pictures of every page in both themes, into docs/images
	$(BIN)/python dev/screenshots.py $(ONLY)

perf-analyzer: setup ## Triton's own load generator, unmodified, through the gateway and past it
	PYTHONPATH=dev $(BIN)/python benchmarks/perf_analyzer.py

hostile: setup ## Bytes, bodies, pictures and credentials that must not pass, and callers that take their time
	$(BIN)/pytest -s tests/hostile

faults: setup ## Triton, Redis, models, wires and callers that fail under load, and the figures of docs/reliability.md
	$(BIN)/pytest -s tests/faults

MINUTES ?= 30
soak: setup ## Mixed traffic and faults for MINUTES=30, and whether memory, descriptors or threads grow
	PYTHONPATH=dev $(BIN)/python benchmarks/soak.py $(MINUTES)

fuzz: setup ## schemathesis on both descriptions, SECONDS=120 each
	$(BIN)/python dev/fuzz.py

bench-mirror: setup ## What callers notice while all their calls are mirrored to a canary
	PYTHONPATH=dev $(BIN)/python benchmarks/mirror.py

WEIGHTS ?= random
export-models: ## ResNet-50, YOLOv8n and BERT base into model_repository; WEIGHTS=random (anywhere) or pretrained (from their hubs)
	$(PYTHON) -m venv .venv-export
	.venv-export/bin/pip install --quiet -r triton/export/requirements.txt
	.venv-export/bin/python triton/export/export_resnet50.py --weights $(WEIGHTS)
	.venv-export/bin/python triton/export/export_bert.py --weights $(WEIGHTS)
	$(PYTHON) -m venv .venv-yolo
	.venv-yolo/bin/pip install --quiet -r triton/export/requirements-yolo.txt
	@# Without what they depend on: torchvision only has to be there by name, and brings CUDA along.
	.venv-yolo/bin/pip install --quiet --no-deps torchvision==0.28.0 ultralytics==8.4.190 ultralytics-thop==2.2.3
	YOLO_CONFIG_DIR=.run .venv-yolo/bin/python triton/export/export_yolov8.py --weights $(WEIGHTS)

bench-models: setup ## The three large models on this machine: parity with the framework, what batches gain, and JPEG to answer
	PYTHONPATH=dev $(BIN)/python benchmarks/models.py

train: ## Train and export the demo models again (about an hour on two cores; needs PyTorch)
	$(PYTHON) -m venv .venv-export
	.venv-export/bin/pip install --quiet -r triton/export/requirements.txt
	.venv-export/bin/python triton/export/train_classifier.py
	.venv-export/bin/python triton/export/train_detector.py
	.venv-export/bin/python triton/export/train_text.py

lock: $(UV) ## Resolve the requirements files again from pyproject.toml and triton/launch.py
	$(BIN)/python dev/check_locks.py $(UV) --write

clean: ## Remove environments and state
	rm -rf $(VENV) $(TRITON_VENV) .venv-export .venv-yolo .run

$(UV): requirements/uv.txt
	$(PYTHON) -m venv .run/tools
	.run/tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.installed: $(UV) requirements/dev.txt pyproject.toml
	$(UV_VENV) --python '$(or $(CHOSEN),$(FITS))' $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@# Compiled once, as in the image: where Python may write no bytecode, each start would compile it all again.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -P -c 'import gateway.app, gateway.cli.serve'
	@touch $@

$(TRITON_VENV)/.installed: $(UV) triton/requirements.txt
	$(UV_VENV) --python '$(or $(CHOSEN),$(FITS_TRITON))' $(TRITON_VENV)
	$(UV) pip sync --quiet --python $(TRITON_VENV)/bin/python --require-hashes triton/requirements.txt
	@touch $@
