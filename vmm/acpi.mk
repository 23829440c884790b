# The DSDT: tables.asl -> a C header with its bytes, in the build directory.
IASL ?= iasl
ACPI_DSDT := $(BUILD)/vmm/tables_dsdt

# iasl names the array after its output file, writes it neither static nor const, and guards it with a reserved name.
$(ACPI_DSDT).h: vmm/tables.asl devices/acpi_pm.h vmm/acpi.mk
	@mkdir -p $(@D)
	@echo "  IASL $@"
	$(Q)$(IASL) -vs -we -I $(CURDIR) -tc -p $(ACPI_DSDT) $< >$(ACPI_DSDT).log || \
		{ cat $(ACPI_DSDT).log; exit 1; }
	$(Q)sed 's/^unsigned char/static const unsigned char/; s/__TABLES_DSDT_HEX__/TABLES_DSDT_HEX/' $(ACPI_DSDT).hex >$@.tmp
	$(Q)mv $@.tmp $@

$(BUILD)/vmm/acpi.o: $(ACPI_DSDT).h
