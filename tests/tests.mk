# Unit tests: each tests/unit/test_*.c is a program of Debian's `check`, linked with every floor; of manage, with the
# modules that it needs and does not include itself.
#   make check-unit                              all of them; closes with "N passed, N failed, N skipped"
#   make check-unit UNIT_TESTS=tests/unit/test_bus.c    one alone
UNIT_TESTS ?= $(sort $(wildcard tests/unit/test_*.c))
# What several programs share: tests/unit/ without the prefix.
UNIT_HELPERS := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
UNIT_HELPER_OBJECTS := $(UNIT_HELPERS:%.c=$(BUILD)/%.o)
UNIT_PROGRAMS := $(UNIT_TESTS:%.c=$(BUILD)/%)
UNIT_UNDER_TEST := $(filter-out $(BUILD)/manage/%,$(OBJECTS))
UNIT_LDLIBS := -lcheck_pic -lsubunit -lrt -lm -lpthread

UNIT_MANAGE := $(BUILD)/tests/manage.a
# Each program takes what it uses: two of them may have the same name for different things.
UNIT_SHARED := $(BUILD)/tests/shared.a

$(UNIT_MANAGE): $(filter-out $(BUILD)/manage/main.o,$(filter $(BUILD)/manage/%,$(OBJECTS)))
$(UNIT_SHARED): $(UNIT_HELPER_OBJECTS)
$(UNIT_MANAGE) $(UNIT_SHARED):
	@echo "  AR   $@"
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(UNIT_PROGRAMS): $(BUILD)/%: $(BUILD)/%.o $(UNIT_SHARED) $(UNIT_UNDER_TEST) $(UNIT_MANAGE)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNIT_LDLIBS) $(LDLIBS)

-include $(UNIT_PROGRAMS:=.d) $(UNIT_HELPER_OBJECTS:.o=.d)

.SECONDARY: $(UNIT_PROGRAMS:=.o) $(UNIT_HELPER_OBJECTS)

.PHONY: check-unit
check-unit: $(UNIT_PROGRAMS) payloads
	$(Q)tests/unit/run $(UNIT_PROGRAMS)

# Hostile replicas: tercet, with two of its functions replaced (tests/fault/hostile.c). tests/fault/run runs it.
HOSTILE_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fault/*.c))
$(BUILD)/tests/fault/hostile: $(HOSTILE_OBJECTS) $(filter-out $(BUILD)/manage/main.o,$(OBJECTS))
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -Wl,--wrap=vote_record_crc,--wrap=tape_write -o $@ $^ $(LDLIBS)

-include $(HOSTILE_OBJECTS:.o=.d)

# Every program there is, for compilers to judge, whatever the host can run.
.PHONY: programs
programs: all $(UNIT_PROGRAMS) $(BUILD)/tests/fault/hostile
