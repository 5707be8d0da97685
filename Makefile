# SPDX-License-Identifier: GPL-3.0-or-later
# `make demo` deploys to a simulated cluster, `make test` runs the tests. Both set up everything that they need.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

CACHE := $(or $(ASCEND_VLLM_CACHE),/var/cache/ascend-vllm-testbed)
VENV := .venv
READY := $(VENV)/.ready
BED := molecule/testbed/bed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start thousands of Python programs, which must not be compiled every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-down test test-all coverage mutation bench test-fast lint docs messages recording build venv setup clean

help:
	@echo 'make demo       deploy to two simulated Atlas 800 A2 nodes, from driver check to report; they stay up'
	@echo 'make demo-down  remove the nodes of the demo'
	@echo 'make test       set up everything, and run all tests except the long ones'
	@echo 'make test-all   run all tests and the demo, and print what they have not visited; the same as make coverage'
	@echo 'make test-fast  run the tests that do not need the test bed, in about a minute'
	@echo 'make bench      measure what runs cost, and print the figures and their goals; half an hour on two cores'
	@echo 'make mutation   change the code in 300 places, one at a time, and print the changes that no test notices'
	@echo 'make docs       write docs/checks.md and docs/models.md, and build the site in .cache/site'
	@echo 'make messages   accept new and changed messages to users, after you have read them'
	@echo 'make recording BUNDLE=... NAME=... SOURCE=...   add the recorded hosts in an archive of diagnostics as tests'
	@echo 'make build      build the collection artifact'
	@echo 'make clean      remove all test beds, except their cache'

venv: $(READY)

# All clones with the same requirements share an environment in the cache of the test bed, if the cache is writable.
$(READY): requirements.txt requirements-dev.txt
	@python=$$(python3 -c 'import sys; print(sys._base_executable)')
	folder="$(CACHE)/venv/$$({ cat $^; echo "$$python"; "$$python" -VV; } | sha256sum | head -c 12)"
	mkdir -p "$$folder" 2> /dev/null && [ -w "$$folder" ] || folder=$(VENV)
	exec 9> "$$folder.lock"
	flock 9
	if [ ! -e "$$folder/.ready" ]; then
		echo "Installing ansible-core, molecule and other requirements of the tests into $$folder …"
		"$$python" -m venv --clear "$$folder" > /dev/null 2>&1 || {
			$(BED) prepare --packages-only; "$$python" -m venv --clear "$$folder"; }
		"$$folder/bin/pip" install -qq --no-compile -r requirements-dev.txt
		# Most files belong to bundled collections. Only community.docker is used and therefore compiled.
		"$$folder/bin/python" -m compileall -q -j 0 -x '/ansible_collections/(?!community/docker/)' "$$folder/lib"
	fi
	touch "$$folder/.ready"
	[ "$$folder" = $(VENV) ] || { rm -rf $(VENV); ln -s "$$folder" $(VENV); }

# The two parts wait for different resources (network, file systems), so they run in parallel.
setup:
	@$(BED) check
	$(MAKE) venv & venv=$$!
	$(BED) prepare
	# For the tests of the report page.
	command -v chromium > /dev/null || {
		apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qqy -o DPkg::Lock::Timeout=600 --no-remove \
		  --no-install-recommends install chromium fonts-liberation > /dev/null; }
	wait $$venv

demo:
	@$(BED) check
	$(MAKE) venv & venv=$$!
	$(BED) -n demo up --nodes 2 --image full --hub
	wait $$venv
	ansible-playbook -i inventories/simulated playbooks/site.yml
	echo
	echo 'The cluster stays up: CONTRIBUTING.md has three things to try, `make demo-down` removes it.'
	echo "Send it a request: $(BED) -n demo run -- curl -s http://10.77.0.11:8888/v1/models"
	echo 'Open the report in a browser: $(CURDIR)/inventories/simulated/.results/report.html'

demo-down:
	@$(BED) -n demo down

# Also records the checks and the entries of the catalogue that tests visit in the process of pytest.
test: export ASCEND_VLLM_VISITS := $(CURDIR)/.cache/visits-of-test
test: setup
	@rm -rf "$$ASCEND_VLLM_VISITS"
	mkdir -p "$$ASCEND_VLLM_VISITS"
	pytest -m 'not long'
	tests/visits/table.py --unit-only "$$ASCEND_VLLM_VISITS"

test-all: coverage

# Runs all tests and the demo, and records what they visit. coverage.py is installed in .cache/visits/coverage instead of
# the environment of the tests, because nodes mount this folder and use the same copy.
coverage: export ASCEND_VLLM_VISITS := $(CURDIR)/.cache/visits
coverage: export ASCEND_VLLM_COVERAGE := $(CURDIR)/.cache/visits/coverage
coverage: export COVERAGE_PROCESS_START := $(CURDIR)/tests/visits/coverage.ini
coverage: export ANSIBLE_CALLBACK_PLUGINS := $(CURDIR)/tests/visits/callback_plugins
coverage: export ANSIBLE_CALLBACKS_ENABLED := visits
coverage: setup
	@rm -rf "$$ASCEND_VLLM_VISITS"
	site="$$ASCEND_VLLM_COVERAGE/site"
	mkdir -p "$$site"
	pip install -qq --target "$$site" 'coverage>=7.10'
	cp tests/visits/site/* tests/visits/coverage.ini "$$site"
	printf %s "$$ASCEND_VLLM_COVERAGE" > "$$site/folder"
	export PYTHONPATH="$$site"
	pytest || failed=$$?
	$(MAKE) demo || failed=$$?
	$(MAKE) demo-down
	COVERAGE_PROCESS_START= tests/visits/table.py "$$ASCEND_VLLM_VISITS"
	exit "$${failed:-0}"

# The goals are met on an idle machine. Each benchmark brings up its own test bed.
bench: setup
	@for name in noop_site growth first_refusal 'npu_driver_stage --skip-loop' weights_fanout weights_verification \
	  report_page; do
		echo "$$name:"
		set -- $$name; python "tests/benchmarks/$$1.py" "$${@:2}" || failed=1
	done
	exit "$${failed:-0}"

test-fast: venv
	@pytest -m 'not bed and not engine and not slow'

lint: venv
	@pytest tests/quality

docs: venv
	@python docs/generate_checks.py > docs/checks.md
	@python docs/generate_models.py > docs/models.md
	docs/build_site .cache/site

messages: venv
	@python tests/quality/messages.py > .messages.new
	git diff --no-index --word-diff=color --unified=0 tests/data/messages.txt .messages.new || true
	mv .messages.new tests/data/messages.txt

# Without BUNDLE, the expected outcomes of all recorded hosts are written again.
recording: venv
	@export PYTHONPATH='$(CURDIR)/playbooks/collections'
	python tests/unit/plugins/plugin_utils/_stages/npu_driver/test_judge_recorded_hosts.py \
	  $(if $(BUNDLE),--bundle '$(BUNDLE)' --name '$(NAME)' --source '$(SOURCE)' --plan '$(or $(PLAN),{})')
	git status --short tests/unit/plugins/plugin_utils/_stages/npu_driver/hosts

# Run this manually: it takes 20 minutes on two cores. MUTATION="--seed 3 --only _plan" chooses other changes.
mutation: venv
	@python tests/mutation/mutate.py $(MUTATION)

build: venv
	@ansible-galaxy collection build --force --output-path .cache/

clean:
	@$(BED) clean
	rm -rf .cache .ansible
