# Everything is set up in .venv inside the checkout, once; paths are relative, so that the
# checkout may have a space in its name.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -qq install

.DELETE_ON_ERROR:
.PHONY: help demo test test-frameworks check wheel clean

help:
	@echo "make demo    convert, run, push, roll back: the main job on this machine, in a minute"
	@echo "make test    the whole test suite"
	@echo "make test-frameworks   the tests that need PyTorch and Keras, in .venv-frameworks (1.4 GB)"
	@echo "make check   lint, types, import contracts, then the tests"
	@echo "make wheel   build the wheel into dist/, to install on a device"
	@echo "make clean   remove .venv, build and dist"

demo: $(VENV)/.demo
	@$(VENV)/bin/python -m fleet demo

test: $(VENV)/.dev
	@$(VENV)/bin/python -m pytest

test-frameworks: $(VENV)-frameworks/.dev
	@EDGEWARD_REQUIRE=torch,keras $(VENV)-frameworks/bin/python -m pytest tests/convert/importers

check: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/lint-imports --no-logo --no-timing 2>/dev/null || $(VENV)/bin/lint-imports
	@$(VENV)/bin/python -m pytest

wheel: $(VENV)/.dev
	@$(VENV)/bin/python -m pip --disable-pip-version-check --quiet wheel --no-deps \
		--no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf $(VENV) $(VENV)-frameworks build dist *.egg-info

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or newer is needed, found: $$($(PYTHON) --version 2>&1)" \
			"(make PYTHON=python3.11 names another)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "this Python cannot make environments; on Debian and Raspberry Pi OS:" \
			"sudo apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once)…"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "Installing what the demo needs (once; about a minute)…"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing what the tests need (once; about a minute)…"
	@$(PIP) --editable '.[tflite,demo,convert-tflite,convert-sklearn]' --group dev
	@touch $@ $(VENV)/.demo

# Beside the other one: PyTorch is larger than all the rest, and a device has none of it.
$(VENV)-frameworks/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing PyTorch and Keras (once; 1.4 GB)…"
	@$(PYTHON) -m venv --clear $(VENV)-frameworks
	@$(VENV)-frameworks/bin/python -m pip --disable-pip-version-check -qq install --upgrade 'pip>=25.1'
	@$(VENV)-frameworks/bin/python -m pip -qq install '$(TORCH)'
	@$(VENV)-frameworks/bin/python -m pip -qq install \
		--editable '.[convert-tflite,convert-torch,convert-keras]' --group dev
	@touch $@
