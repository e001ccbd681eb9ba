# Two commands set up everything they need by themselves: `make demo` and `make test`.

VENV = .venv
DEMO = build/demo
N = 1000
SEED = 1
ifeq ($(origin CC), default)
CC = gcc
endif
SUITES =
DISTCC = /usr/bin/distcc
CCACHE ?= /usr/bin/ccache
CASES =
BENCH_FLAGS =
# Much of a test is waiting for compilers. The tests of a file share servers, and the longest files
# come first.
TEST_FLAGS = --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

.PHONY: help demo test check bench fuzz-compile fuzz-commands fuzz-planted fuzz-wire
.PHONY: soak ccache-suite ccache-lines distcc-suite install-dev dist deb check-deb clean

help:
	@echo 'make demo           build a real project plainly, cold and warm, and compare'
	@echo 'make test           install what the tests need, and run them'
	@echo 'make check          formatting, lint, types, C warnings, sanitizers'
	@echo 'make bench          compare with plain gcc, ccache (CCACHE=path) and sccache'
	@echo 'make fuzz-compile   compare N=$(N) random compiles with the plain compiler (CC=, SEED=)'
	@echo 'make fuzz-commands  the same with N=$(N) commands of several sources, and links'
	@echo 'make fuzz-planted   prove that the fuzzer finds planted bugs'
	@echo 'make fuzz-wire      attack daemon and client with N=$(N) hostile connections (SEED=)'
	@echo 'make soak           builds while the server is killed again and again (minutes)'
	@echo "make ccache-suite   ccache's own tests, from CCACHE_GIT=directory (CC=, SUITES=)"
	@echo "make ccache-lines   some 300 command lines, counted as ccache does (CCACHE=path, CC=)"
	@echo 'make compare-ccache hits, misses and objects of both on three real projects (CCACHE=)'
	@echo "make distcc-suite   distcc's own tests, from SUITE_DIR=directory (DISTCC=, CASES=)"
	@echo 'make install-dev    the environment for development, in $(VENV)'
	@echo 'make dist           sdist and wheel, in dist/'
	@echo 'make deb            the Debian package, in dist/'
	@echo 'make check-deb      install and use that in a fresh Debian (root, debootstrap; minutes)'
	@echo 'make clean          remove what the others made'

demo:
	scripts/bootstrap demo $(DEMO)/env
	$(DEMO)/env/bin/python -I scripts/demo.py $(DEMO)

install-dev:
	scripts/bootstrap test $(VENV)

test: install-dev
	$(VENV)/bin/python -m pytest $(TEST_FLAGS)

check: install-dev
	scripts/check $(VENV)

# These measure or attack pycc as users have it, so they run an installed copy.
bench: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(DEMO)/env/bin/python -I scripts/demo.py --fetch-only $(DEMO)
	$(VENV)/bin/python -m bench --pycc $(DEMO)/env/bin/pycc --project $(DEMO)/source \
	    --flags="$$($(DEMO)/env/bin/python -I scripts/demo.py --print-flags $(DEMO))" $(BENCH_FLAGS)

fuzz-compile: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python -m tests.fuzz.differential --wrapper $(DEMO)/env/bin/pycc \
	    --cc $(CC) --steps $(N) --seed $(SEED) --min-hits 30

fuzz-commands: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python -m tests.fuzz.commands --wrapper $(DEMO)/env/bin/pycc \
	    --cc $(CC) --commands $(N) --seed $(SEED)

fuzz-planted: install-dev
	FUZZ_PLANTED_LAUNCHER=$(CURDIR)/$(DEMO)/env/bin/pycc \
	    $(VENV)/bin/python -m pytest tests/fuzz/test_planted_bugs.py

fuzz-wire: install-dev
	$(VENV)/bin/python -m tests.fuzz.wire --connections $(N) --seed $(SEED)

soak: install-dev
	$(VENV)/bin/python -m tests.faults.soak --cc $(CC)

ccache-suite: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python tests/interop/ccache_suite.py --git '$(CCACHE_GIT)' \
	    --cc $(CC) --launcher $(DEMO)/env/bin/pycc $(SUITES)

ccache-lines: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python tests/interop/ccache_lines.py --cc $(CC) \
	    --launcher $(DEMO)/env/bin/pycc --reference $(CCACHE)

compare-ccache: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python -m tests.interop.scenarios --launcher $(DEMO)/env/bin/pycc \
	    --reference '$(CCACHE)' --work build/days

distcc-suite: install-dev
	scripts/bootstrap demo $(DEMO)/env
	$(VENV)/bin/python -m tests.interop.distcc_suite --suite '$(SUITE_DIR)' \
	    --distcc $(DISTCC) --distccd $(DEMO)/env/bin/pyccd $(CASES)

dist: install-dev
	$(VENV)/bin/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")'
	$(VENV)/bin/python -m pip --quiet wheel --no-build-isolation --no-deps -w dist dist/*.tar.gz

deb: install-dev
	$(VENV)/bin/python -I scripts/build_deb.py dist

check-deb: install-dev
	scripts/check-deb.sh "$$($(VENV)/bin/python -I scripts/build_deb.py dist)" build/check-deb

clean:
	rm -rf build dist pycc.egg-info pycc/_build.py pycc/_sandbox pycc/_statcheck.so
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
