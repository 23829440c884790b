# tercet's build. `make` builds build/tercet and build/payloads/*; `make help` lists the rest.
MAKEFLAGS += --no-builtin-rules
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
VERSION := 0.1.0

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wcast-qual -Wimplicit-fallthrough -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Werror
HARDENING := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE
OPTIMISE ?= -O2
SANITIZE ?=
CFLAGS := -std=c17 -D_GNU_SOURCE -DTERCET_VERSION='"$(VERSION)"' -g $(OPTIMISE) $(WARNINGS) \
	$(if $(SANITIZE),,$(HARDENING)) $(SANITIZE) -I. -I$(BUILD)
LDFLAGS := $(if $(SANITIZE),,-pie -Wl,-z,relro,-z,now) $(SANITIZE)
LDLIBS := -lcrypto -ljansson -lz -lZydis -lseccomp -lcap-ng

FLOORS := base devices devices/host vmm lockstep manage
SOURCES := $(sort $(foreach f,$(FLOORS),$(wildcard $(f)/*.c)))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)

.PHONY: all
all: $(BUILD)/tercet $(BUILD)/qemu-system-tercet payloads

# V=1 shows whole commands.
Q := $(if $(V),,@)

$(BUILD)/tercet: $(OBJECTS)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The same program, by the name that libvirt calls it.
$(BUILD)/qemu-system-tercet: $(BUILD)/tercet
	$(Q)ln -sf tercet $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)
-include guest-tools/payloads/payloads.mk
-include vmm/acpi.mk
-include bench/bench.mk
-include tests/tests.mk
-include packaging/install.mk

# The rest installs what is missing first, so that on a fresh Debian nothing but make need be there; the steps go one
# after the other, in a make of their own that sees what the step before brought.
INITRAMFS_PARTS := $(wildcard guest-tools/initramfs/* guest-tools/initramfs/*/*) guest-tools/pack-initramfs
$(BUILD)/initramfs.cpio: $(INITRAMFS_PARTS)
	@echo "  INITRAMFS $@"
	$(Q)guest-tools/initramfs/build $@

$(BUILD)/initramfs-devices.cpio: $(INITRAMFS_PARTS) guest-tools/take-modules build/kernels/cloud-amd64/version
	@echo "  INITRAMFS $@"
	$(Q)guest-tools/initramfs/build --devices cloud-amd64 $@

build/kernels/%/version:
	guest-tools/fetch-kernels $*

.PHONY: initramfs initramfs-devices
initramfs: $(BUILD)/initramfs.cpio
initramfs-devices: $(BUILD)/initramfs-devices.cpio

.PHONY: setup
setup:
	guest-tools/setup --test

.PHONY: demo
demo:
	guest-tools/setup --run
	+$(Q)$(MAKE) --no-print-directory all
	guest-tools/demo

.PHONY: check check-long
check check-long: setup
	guest-tools/fetch-kernels
	tests/run-check $(if $(filter check-long,$@),--long)

.PHONY: soak
MINUTES ?= 30
soak:
	guest-tools/setup --run
	tests/lab/soak $(MINUTES)

.PHONY: bench bench-full
bench bench-full: all
	bench/run $(if $(filter bench-full,$@),--full)

.PHONY: help
help:
	@echo "make              build/tercet and build/payloads/"
	@echo "make demo         installs what is missing, then runs Debian's kernel in three replicas and damages one"
	@echo "make check        installs what is missing, then runs all tests; the last line counts them"
	@echo "make check-long   likewise, with the tests that take an hour or more"
	@echo "make check-unit   unit tests alone"
	@echo "make soak         Linux under load with preemption, in the lab, for MINUTES=N (30)"
	@echo "make bench        what replication costs here, in less than 10 minutes; in the lab where there is no KVM"
	@echo "make bench-full   likewise, in hours: longer runs, more of them, more replicas and memory"
	@echo "make install      installs into prefix=/usr/local, below DESTDIR= if it is given; make uninstall takes it back"
	@echo "make deb          a Debian package in $(BUILD)/deb/"
	@echo "make setup        installs what building, running and testing need"
	@echo "make initramfs    build/initramfs.cpio, the demonstration guest's userland; initramfs-devices: with drivers"
	@echo "make clean        removes $(BUILD)/, kernels and logs too"
	@echo
	@echo "CC=clang          the other compiler      BUILD=FOLDER  where to build (build)"
	@echo "SANITIZE=OPTIONS  sanitizers              V=1           whole commands"

.PHONY: clean
clean:
	rm -rf $(BUILD)
