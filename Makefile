# SPDX-License-Identifier: GPL-2.0-only
# For habit: meson and ninja do the work.

BUILD ?= build
PREFIX ?= /usr/local

all:
	@scripts/build $(BUILD) --prefix=$(PREFIX)

install: all
	meson install -C $(BUILD)

check:
	./check

check-kernels: all
	scripts/check-kernels

fuzz:
	scripts/fuzz

bench: all
	bench/run

coverage:
	scripts/coverage

clean:
	rm -rf $(BUILD) build-asan build-fuzz build-coverage

.PHONY: all install check check-kernels fuzz bench coverage clean
