# What the benchmarks compare with: a KVM program without lockstep (bench/bare.c), which shares nothing with tercet.
all: $(BUILD)/bench/bare

$(BUILD)/bench/bare: $(BUILD)/bench/bare.o
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^

-include $(BUILD)/bench/bare.d
