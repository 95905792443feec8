# `make run` answers the question, `make test` passes every check; both do all the set-up. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BUILT := $(VENV)/.built
SOURCES := setup.py $(shell find sim -name '*.py' -o -name '*.px?')

.PHONY: help run failures studies validation test fast build bench profile simpy-suite docs figures calibrate notebooks lock clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

run: $(BUILT)  ## the main job: synchronous or asynchronous checkout, on a real shop's traces (1 minute)
	$(BIN)/sim compare experiments/checkout/sync_or_async.yaml

test: $(BUILT)  ## every check: style, types, floors, unit, property, theory and notebook tests (11 minutes)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

fast: $(BUILT)  ## the tests without the long ones (1 minute)
	$(BIN)/python -m pytest -n 2 -m "not theory and not slow"

build: $(BUILT)  ## compile what changed: the kernel and the simulator's components

bench: $(BUILT)  ## speed beside others on the same models, how it grows with the size, and what sweeps cost (20 minutes)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.sweeps
	@if command -v valgrind >/dev/null; then $(BIN)/python -m benchmarks.profile W4; \
	else echo "not counted: instructions (needs valgrind)"; fi
	$(BIN)/python docs/figures.py speed

profile: $(BUILT)  ## where the time of W4 goes, in instructions (needs valgrind; 1 minute)
	$(BIN)/python -m benchmarks.profile W4

simpy-suite: $(BUILT)  ## SimPy's own tests, against SimPy and against the compiled kernel
	$(BIN)/python tests/kernel/simpy_suite.py

# From source: a compiled function has no signature to show.
docs: export SIM_COMPONENTS = source
docs: $(BUILT)  ## the pages: guide, reference, gallery of charts, API, in docs/site/_build; and docs/scenario.md anew (2 minutes)
	$(BIN)/python -m sim.scenario.reference docs/scenario.md
	$(BIN)/python docs/site/pages.py
	$(BIN)/sphinx-build -q -W --keep-going -b html docs/site docs/site/_build

figures: run failures validation  ## the main job, failures and published numbers again, then the README's tables and pictures (12 minutes)
	$(BIN)/python docs/figures.py

validation: $(BUILT)  ## published numbers beside simulated ones, as a table (4 minutes)
	@mkdir -p results
	$(BIN)/sim validate --quiet --format csv > results/validation.csv
	$(BIN)/python docs/figures.py validation

failures: $(BUILT)  ## a retry storm, a slow dependency that takes others with it, four ways of finding replicas, four of an order, four protocols (7 minutes)
	$(BIN)/sim compare experiments/retry_storm/retry_storm.yaml
	$(BIN)/sim compare experiments/cascade/cascade.yaml
	$(BIN)/sim compare experiments/discovery/discovery.yaml
	$(BIN)/sim compare experiments/messaging/order_flow.yaml
	$(BIN)/sim compare experiments/protocols/product_page.yaml
	$(BIN)/python experiments/protocols/flips.py

METASTABILITY := experiments/metastability/outage.yaml --recovers --largest 'faults[0].for=0.5s..16s log' \
	--over load.rate=20/s,30/s,40/s,50/s,60/s,70/s,80/s,90/s --tolerance '10 %' --out results/metastability
CAPACITY := experiments/capacity/capacity.yaml

studies: $(BUILT)  ## capacity of the calibrated shop, and the vulnerable region of retry policies (6 minutes)
	$(BIN)/sim search $(CAPACITY) --largest load.rate=4/s..20/s --tolerance '4 %' --out results/capacity-largest
	$(BIN)/sim sweep $(CAPACITY) --set load.rate=2/s..14/s:7 -r 3 --metric p50_s --metric p90_s
	$(BIN)/sim search $(CAPACITY) --smallest services.currencyservice.replicas=1..16 --over load.rate=10/s,20/s,40/s,60/s,80/s \
		--at-most 10 --out results/capacity-smallest
	$(BIN)/sim search $(METASTABILITY)
	$(BIN)/python experiments/metastability/ramps.py
	$(BIN)/python docs/figures.py studies

BOUTIQUE := --page list_products=home --page get_ads_and_list_recommendations=product --page get_quote=cart \
	--page add_item=add_to_cart --page no_calls=set_currency --page place_order=checkout \
	--unrecorded checkoutservice.ConvertCurrency=currencyservice.Convert --force

calibrate: $(BUILT)  ## derive the shop and its users again from a recording (SPANS=fault-free.csv.gz), with recorded against simulated
	$(BIN)/sim calibrate $(SPANS) $(BOUTIQUE) --out experiments/boutique/boutique.yaml
	$(BIN)/sim calibrate $(SPANS) $(BOUTIQUE) --out experiments/boutique/users.yaml --base experiments/boutique/boutique.yaml \
		--think '{uniform: {low: 1s, high: 10s}}'

notebooks: $(BUILT)  ## execute the notebooks again and keep their outputs
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

lock: $(READY)  ## renew constraints.txt from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --output-file constraints.txt

clean:  ## remove the virtual environment, what was compiled, and caches; results stay
	find sim -name '*.so' -delete
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# uv installs in seconds where pip needs minutes; without it, plain pip does the same from the same lock. Here neither compiles:
# they would do it one file after the other, and below it is done on two cores, and again only for what has changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12"; exit 2; }
	@echo "setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null; \
	then SIM_COMPONENTS=source $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test]'; \
	else SIM_COMPONENTS=source $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'; fi
	@touch $@

# Without a C compiler nothing is compiled, and all works, slower.
$(BUILT): $(READY) $(SOURCES)
	@test -f $@ || echo "compiling (once, some minutes) ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace --parallel 2 >$(VENV)/build.log 2>&1 || \
		{ cat $(VENV)/build.log; exit 1; }
	@touch $@
