# Payloads (guest-tools/payloads/payload.h), twice: for a guest into $(BUILD)/payloads, and as ordinary programs
# into $(BUILD)/payloads/native, which say what the right output is.
PAYLOADS := compute memory exits mixed output pulse tight dirty
# What people run, small: bench/suites.py.
PAYLOAD_PROGRAMS := compress game interpret paths search spectrum tree
PAYLOAD_FACTS := hello fail crash hang echo disk sectors frames reboot button
PAYLOAD_PARTS := runtime kernels churn storm

PAYLOAD_FOLDER := guest-tools/payloads
PAYLOAD_OUT := $(BUILD)/payloads

# Both builds must calculate alike, so neither may fuse or widen floating point.
PAYLOAD_MATH := -O2 -msse2 -mno-avx -mfpmath=sse -ffp-contract=off
PAYLOAD_CFLAGS := -std=c17 -g $(WARNINGS) $(PAYLOAD_MATH) -ffreestanding -fno-stack-protector -mno-red-zone -fno-pic \
	-fno-pie -fcf-protection=none -fno-asynchronous-unwind-tables -I.
PAYLOAD_LDFLAGS := -static -nostdlib -Wl,-T,$(PAYLOAD_FOLDER)/payload.ld -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--fatal-warnings

PAYLOAD_GUEST_PARTS := $(patsubst %,$(PAYLOAD_OUT)/guest/%.o,guest driver $(PAYLOAD_PARTS))
PAYLOAD_NATIVE_PARTS := $(patsubst %,$(PAYLOAD_OUT)/host/%.o,native $(PAYLOAD_PARTS))

.PHONY: payloads
payloads: $(patsubst %,$(PAYLOAD_OUT)/%,$(PAYLOADS) $(PAYLOAD_PROGRAMS) $(PAYLOAD_FACTS)) \
	$(patsubst %,$(PAYLOAD_OUT)/native/%,$(PAYLOADS) $(PAYLOAD_PROGRAMS))

$(PAYLOADS:%=$(PAYLOAD_OUT)/%): $(PAYLOAD_OUT)/%: $(PAYLOAD_OUT)/guest/%.o
$(PAYLOAD_PROGRAMS:%=$(PAYLOAD_OUT)/%): $(PAYLOAD_OUT)/%: $(PAYLOAD_OUT)/guest/programs/%.o
$(PAYLOAD_FACTS:%=$(PAYLOAD_OUT)/%): $(PAYLOAD_OUT)/%: $(PAYLOAD_OUT)/guest/facts/%.o
$(patsubst %,$(PAYLOAD_OUT)/%,$(PAYLOADS) $(PAYLOAD_PROGRAMS) $(PAYLOAD_FACTS)): $(PAYLOAD_GUEST_PARTS) $(PAYLOAD_FOLDER)/payload.ld
	$(CC) $(PAYLOAD_LDFLAGS) -o $@ $(filter %.o,$^)

$(PAYLOADS:%=$(PAYLOAD_OUT)/native/%): $(PAYLOAD_OUT)/native/%: $(PAYLOAD_OUT)/host/%.o
$(PAYLOAD_PROGRAMS:%=$(PAYLOAD_OUT)/native/%): $(PAYLOAD_OUT)/native/%: $(PAYLOAD_OUT)/host/programs/%.o
$(patsubst %,$(PAYLOAD_OUT)/native/%,$(PAYLOADS) $(PAYLOAD_PROGRAMS)): $(PAYLOAD_NATIVE_PARTS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^)

$(PAYLOAD_OUT)/guest/%.o: $(PAYLOAD_FOLDER)/%.c $(PAYLOAD_FOLDER)/payloads.mk
	@mkdir -p $(@D)
	$(CC) $(PAYLOAD_CFLAGS) -MMD -MP -c -o $@ $<

$(PAYLOAD_OUT)/host/%.o: $(PAYLOAD_FOLDER)/%.c $(PAYLOAD_FOLDER)/payloads.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PAYLOAD_MATH) -MMD -MP -c -o $@ $<

-include $(wildcard $(PAYLOAD_OUT)/guest/*.d $(PAYLOAD_OUT)/guest/programs/*.d $(PAYLOAD_OUT)/guest/facts/*.d \
	$(PAYLOAD_OUT)/host/*.d $(PAYLOAD_OUT)/host/programs/*.d)
