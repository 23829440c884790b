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
LDLIBS := -lcrypto -ljansson -lz

FLOORS := base devices devices/host vmm lockstep manage
SOURCES := $(sort $(foreach f,$(FLOORS),$(wildcard $(f)/*.c)))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)

.PHONY: all
all: $(BUILD)/tercet payloads

# V=1 shows whole commands.
Q := $(if $(V),,@)

$(BUILD)/tercet: $(OBJECTS)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)
-include guest-tools/payloads/payloads.mk
-include vmm/acpi.mk
-include tests/tests.mk

.PHONY: clean
clean:
	rm -rf $(BUILD)
