# make demo       set up and run the first example
# make test       set up and run the test suite
# make sanitize   the kernels, those for GPUs too, on the CPU under AddressSanitizer and UndefinedBehaviorSanitizer
# make examples, make bench, make lint, make clean
# make cuda-check [ARCHS="80 86 89 90 100 120"]   every CUDA kernel by nvcc, then on the CPU
# make cuda-sanitize   on a machine with a GPU: the tests of the kernels under compute-sanitizer
#
# The set-up is a virtual environment in .venv with torch and this package, installed editable. A second
# run reuses it; a changed source or another TORCH redoes only what depends on it.

PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin

# Stamps: empty files whose dates say when a step was last done.
TORCH_DONE := $(VENV)/torch-$(TORCH)
BUILD_DONE := $(VENV)/extension-$(TORCH)
TOOLS_DONE := $(VENV)/tools

CPP := $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
EXAMPLES := $(wildcard examples/*.py)
# Tests that compile every kernel once more, which takes minutes.
SANITIZED := tests/test_kernels_sanitized.py tests/test_cuda_kernels.py

.PHONY: demo test examples bench lint format sanitize cuda-check cuda-sanitize clean
.DELETE_ON_ERROR:

demo: $(BUILD_DONE)
	$(BIN)/python examples/01_quickstart.py

# The processes of pytest share the cores: a thread that waits should not spin.
test: $(BUILD_DONE) $(TOOLS_DONE)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n auto $(SANITIZED:%=--ignore=%)

examples: $(BUILD_DONE) $(TOOLS_DONE)
	@for example in $(EXAMPLES); do echo "--- $$example"; $(BIN)/python $$example || exit 1; done

# Options: make bench BENCH="--mode train --threads 2"
bench: $(BUILD_DONE)
	$(BIN)/python -m benchmarks.run $(BENCH)

lint: $(BUILD_DONE) $(TOOLS_DONE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	$(BIN)/vulture --config vulture.toml

format: $(TOOLS_DONE)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

sanitize: $(BUILD_DONE) $(TOOLS_DONE)
	$(BIN)/python -m pytest -q -n auto $(SANITIZED)

cuda-check:
	$(MAKE) -C tests/cuda_shim compile $(if $(ARCHS),ARCHS="$(ARCHS)")
	$(MAKE) -C tests/cuda_shim check

# Allocations of torch go to CUDA one by one, so that memcheck sees where each of them ends. initcheck does not see what the kernels write that
# it does not watch, so for it operands come from the CPU.
OPERANDS_FROM_CPU := tests/test_forward.py tests/test_gradients.py
cuda-sanitize: $(BUILD_DONE) $(TOOLS_DONE)
	@$(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available() and 'cuda-sanitize needs a GPU')"
	@for tool in memcheck racecheck initcheck synccheck; do echo "--- $$tool"; \
	  tests="$(OPERANDS_FROM_CPU)"; \
	  [ $$tool = initcheck ] || tests="$$tests tests/test_layouts.py tests/test_edges.py"; \
	  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool $$tool --error-exitcode 1 \
	    --kernel-name kernel_substring=torch_conv1d $(BIN)/python -m pytest -q -n 0 -k cuda $$tests || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist *.egg-info python/*.egg-info
	find python -name '*.so' -o -name _build_info.py | xargs rm -f

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(TORCH_DONE): | $(BIN)/python
	@echo "--- torch $(TORCH) into $(VENV)"
	rm -f $(VENV)/torch-* $(VENV)/extension-*
	$(BIN)/python -m pip install torch==$(TORCH) 'setuptools>=77' ninja numpy
	@touch $@

$(TOOLS_DONE): requirements-dev.txt | $(TORCH_DONE)
	@echo "--- test and lint tools into $(VENV)"
	$(BIN)/python -m pip install -r requirements-dev.txt
	@touch $@

# ninja prints a line for each file; pip, which would hide them, then finds everything built.
$(BUILD_DONE): $(TORCH_DONE) setup.py pyproject.toml $(filter csrc/%,$(CPP))
	@echo "--- building the extension"
	$(BIN)/python setup.py -q build_ext
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps -e .
	@touch $@
