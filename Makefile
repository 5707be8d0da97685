# SPDX-License-Identifier: GPL-3.0-or-later
# `make demo` does the main job on a simulated cluster, `make test` runs every test. Both set up all they need.
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
# Tests start programs by the thousand: none of them is to compile itself each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-down test test-all test-fast lint docs build venv setup clean

help:
	@echo 'make demo       take two simulated Atlas 800 A2 nodes from driver check to report; leaves them up'
	@echo 'make demo-down  end the demo'
	@echo 'make test       all set-up and every test but six long scenarios'
	@echo 'make test-all   those too'
	@echo 'make test-fast  what needs no test bed: seconds'
	@echo 'make docs       write docs/checks.md'
	@echo 'make build      build the collection artifact'
	@echo 'make clean      end every test bed; nothing of them stays but the cache'

venv: $(READY)

# One environment serves every clone with these requirements: it stands in the test bed's cache, where that is ours.
$(READY): requirements.txt requirements-dev.txt
	@python=$$(python3 -c 'import sys; print(sys._base_executable)')
	folder="$(CACHE)/venv/$$({ cat $^; echo "$$python"; "$$python" -VV; } | sha256sum | head -c 12)"
	mkdir -p "$$folder" 2> /dev/null && [ -w "$$folder" ] || folder=$(VENV)
	exec 9> "$$folder.lock"
	flock 9
	if [ ! -e "$$folder/.ready" ]; then
		echo "Installing ansible-core, molecule and what the tests need into $$folder …"
		"$$python" -m venv --clear "$$folder" > /dev/null 2>&1 || {
			$(BED) prepare --packages-only; "$$python" -m venv --clear "$$folder"; }
		"$$folder/bin/pip" install -qq --no-compile -r requirements-dev.txt
		# Most of it are bundled collections, of which only that of Docker is used.
		"$$folder/bin/python" -m compileall -q -j 0 -x '/ansible_collections/(?!community/docker/)' "$$folder/lib"
	fi
	touch "$$folder/.ready"
	[ "$$folder" = $(VENV) ] || { rm -rf $(VENV); ln -s "$$folder" $(VENV); }

# The two halves of the set-up wait for different things (packages, file systems), so they go side by side.
setup:
	@$(BED) check
	$(MAKE) venv & venv=$$!
	$(BED) prepare
	wait $$venv

demo:
	@$(BED) check
	$(MAKE) venv & venv=$$!
	$(BED) -n demo up --nodes 2 --image full --hub
	wait $$venv
	ansible-playbook -i inventories/simulated playbooks/site.yml
	echo
	echo 'The cluster stays up: README.md has three things to try, `make demo-down` ends it.'
	echo "Ask it: $(BED) -n demo run -- curl -s http://10.77.0.11:8888/v1/models"

demo-down:
	@$(BED) -n demo down

test: setup
	@pytest -m 'not long'

test-all: setup
	@pytest

test-fast: venv
	@pytest -m 'not bed and not engine and not slow'

lint: venv
	@pytest tests/quality

docs: venv
	@python docs/generate_checks.py > docs/checks.md

build: venv
	@ansible-galaxy collection build --force --output-path .cache/

clean:
	@$(BED) clean
	rm -rf .cache .ansible
