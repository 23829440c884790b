#include "lockstep/inject.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/futex.h"
#include "lockstep/control.h"
#include "lockstep/inject_targets.h"

/* Where a parameter of a target goes in struct inject_fault. */
enum slot { SLOT_NONE, SLOT_NAME, SLOT_ADDRESS, SLOT_BIT };

struct field {
	enum slot slot;
	const char *label;
	const char *range; /* how the message about [least, most] begins; NULL: somebody else knows */
	uint64_t least, most;
	const char *from; /* what the possible values are where they are no range, for inject_targets_json */
	bool hexadecimal;
};

enum { FIELDS_MAX = 2 };

struct target {
	const char *name;
	const char *fixed_name; /* goes into the fault's name */
	struct field fields[FIELDS_MAX];
	const char *help;
	result (*check)(const struct inject_fault *fault); /* what ranges do not tell; NULL: nothing */
	bool needs_settled;
	result (*commit)(const struct inject_fault *fault, struct inject_context *context);
};

#define NAME(values) { .slot = SLOT_NAME, .label = "NAME", .from = (values) }
#define NUMBER(name, first, last) \
	{ .slot = SLOT_ADDRESS, .label = (name), .range = name " is", .least = (first), .most = (last) }
#define BIT_OF(whose, last) { .slot = SLOT_BIT, .label = "BIT", .range = whose " has bits", .most = (last) }
#define BIT_OF_NAME { .slot = SLOT_BIT, .label = "BIT", .from = "NAME" }

static const struct target targets[] = {
	{ "reg", NULL, { NAME("registers"), BIT_OF_NAME },
	  "a register: rax, rflags, cs.base, cr0, star, xmm0 ...",
	  inject_target_check_register, true, inject_target_flip_register },
	{ "rip", "rip", { BIT_OF("rip", INJECT_TARGET_QUAD_BIT_MAX) },
	  "the instruction pointer",
	  inject_target_check_register, true, inject_target_flip_register },
	{ "cr3", "cr3", { BIT_OF("cr3", INJECT_TARGET_QUAD_BIT_MAX) },
	  "the register that points to the page tables",
	  inject_target_check_register, true, inject_target_flip_register },
	{ "fpu", NULL, { NAME("registers with fpu"), BIT_OF_NAME },
	  "an x87 or SSE register: st0, xmm0, mxcsr, fcw ...",
	  inject_target_check_fpu, true, inject_target_flip_register },
	{ "mem", NULL,
	  { { .slot = SLOT_ADDRESS, .label = "ADDRESS", .from = "RAM", .hexadecimal = true },
	    BIT_OF("a byte of memory", INJECT_TARGET_BYTE_BIT_MAX) },
	  "the byte at a guest-physical address",
	  NULL, true, inject_target_flip_memory },
	{ "code", NULL,
	  { NUMBER("OFFSET", 0, INJECT_TARGET_CODE_MAX), BIT_OF("a byte of code", INJECT_TARGET_BYTE_BIT_MAX) },
	  "the byte OFFSET behind RIP, of the code about to run",
	  NULL, true, inject_target_flip_code },
	{ "page-table", NULL,
	  { NUMBER("LEVEL", 1, INJECT_TARGET_LEVELS),
	    BIT_OF("an entry of a page table", INJECT_TARGET_QUAD_BIT_MAX) },
	  "the page table entry of that level that maps RIP, or the last there is",
	  NULL, true, inject_target_flip_page_table },
	{ "device", NULL, { NAME("devices"), BIT_OF_NAME },
	  "a device's saved state: i8254, uart16550 ...",
	  inject_target_check_device, true, inject_target_flip_device },
	{ "tape", NULL,
	  { NUMBER("OFFSET", 0, CONTROL_TAPE_SIZE - 1), BIT_OF("a byte of the tape", INJECT_TARGET_BYTE_BIT_MAX) },
	  "the replica's tape, OFFSET bytes before the last one written",
	  NULL, false, inject_target_flip_tape },
	{ "control", NULL,
	  { NUMBER("OFFSET", 0, sizeof(struct control) - 1),
	    BIT_OF("a byte of the control page", INJECT_TARGET_BYTE_BIT_MAX) },
	  "the replica's control page",
	  NULL, false, inject_target_flip_control },
	{ "kill", NULL, { { .slot = SLOT_NONE } },
	  "the replica's process is killed (SIGKILL)",
	  NULL, false, inject_target_kill },
	{ "stop", NULL, { NUMBER("SECONDS", 1, INJECT_TARGET_STOP_MAX) },
	  "the process stops for so long (SIGSTOP)",
	  NULL, false, inject_target_stop },
	{ "hang", NULL, { { .slot = SLOT_NONE } },
	  "the replica does nothing any more",
	  NULL, false, inject_target_hang },
	{ "slow", NULL, { NUMBER("FACTOR", 2, INJECT_TARGET_SLOW_MAX) },
	  "the replica takes FACTOR times as long from now on",
	  NULL, false, inject_target_slow },
};

/* Adds to a text, as far as it has room. */
static printf_like(3, 4) void append(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text + used, size - used, format, arguments);
	va_end(arguments);
}

static void append_syntax(char *text, size_t size, const struct target *target)
{
	append(text, size, "%s", target->name);
	for (size_t i = 0; i < FIELDS_MAX && target->fields[i].slot != SLOT_NONE; i++)
		append(text, size, ":%s", target->fields[i].label);
}

static const struct target *target_of(const struct inject_fault *fault)
{
	return fault->target < ARRAY_SIZE(targets) ? &targets[fault->target] : NULL;
}

/* --- checks --- */

static uint64_t field_value(const struct field *field, const struct inject_fault *fault)
{
	return field->slot == SLOT_ADDRESS ? fault->address : fault->bit;
}

static result check_ranges(const struct target *target, const struct inject_fault *fault)
{
	for (size_t i = 0; i < FIELDS_MAX; i++) {
		const struct field *field = &target->fields[i];
		uint64_t value = field_value(field, fault);

		if (field->range && (value < field->least || value > field->most))
			return fail(STATUS_USAGE, "%s %llu to %llu, not %llu", field->range,
				    (unsigned long long)field->least, (unsigned long long)field->most,
				    (unsigned long long)value);
	}
	return OK;
}

static bool has_slot(const struct target *target, enum slot slot)
{
	for (size_t i = 0; i < FIELDS_MAX; i++)
		if (target->fields[i].slot == slot)
			return true;
	return false;
}

/* Whether nothing stands where this target has nothing, so that equal faults are equal bytes. */
static bool is_canonical(const struct target *target, const struct inject_fault *fault)
{
	size_t length = strnlen(fault->name, sizeof(fault->name));

	if (length == sizeof(fault->name))
		return false;
	for (size_t i = length; i < sizeof(fault->name); i++)
		if (fault->name[i] != '\0')
			return false;
	if (!has_slot(target, SLOT_NAME) && strcmp(fault->name, target->fixed_name ? target->fixed_name : "") != 0)
		return false;
	return (has_slot(target, SLOT_ADDRESS) || fault->address == 0) &&
	       (has_slot(target, SLOT_BIT) || fault->bit == 0);
}

static result check(const struct inject_fault *fault)
{
	const struct target *target = target_of(fault);

	if (!target)
		return fail(STATUS_USAGE, "there is no target %u", fault->target);
	if (fault->replica >= VOTE_REPLICAS_MAX)
		return fail(STATUS_USAGE, "there is no replica %u", fault->replica);
	if (!is_canonical(target, fault))
		return fail(STATUS_USAGE, "the fault has values that target %s does not", target->name);
	TRY(check_ranges(target, fault));
	return target->check ? target->check(fault) : OK;
}

result inject_check(const struct inject_fault *fault)
{
	return in_context(check(fault), "inject");
}

/* --- reading --- */

static bool read_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	/* strtoull would skip white space and take a sign. */
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0';
}

static bool read_position(const char *text, uint64_t *position)
{
	*position = 0;
	return strcmp(text, "now") == 0 || read_number(text, position);
}

static bool read_field(const struct field *field, const char *text, struct inject_fault *fault)
{
	if (field->slot != SLOT_NAME)
		return read_number(text, field->slot == SLOT_ADDRESS ? &fault->address : &fault->bit);
	if (text[0] == '\0' || strlen(text) >= sizeof(fault->name))
		return false;
	memcpy(fault->name, text, strlen(text));
	return true;
}

/* Reads a TARGET, and cuts it to pieces. `fault->target` is right also when it is the rest that cannot be read. */
static bool read_target(char *text, struct inject_fault *fault)
{
	char *rest = strchr(text, ':');

	if (rest)
		*rest++ = '\0';
	while (fault->target < ARRAY_SIZE(targets) && strcmp(targets[fault->target].name, text) != 0)
		fault->target++;

	const struct target *target = target_of(fault);

	if (!target)
		return false;
	if (target->fixed_name)
		memcpy(fault->name, target->fixed_name, strlen(target->fixed_name));
	for (size_t i = 0; i < FIELDS_MAX && target->fields[i].slot != SLOT_NONE; i++) {
		const char *value = rest;

		if (!value)
			return false;
		rest = strchr(rest, ':');
		if (rest)
			*rest++ = '\0';
		if (!read_field(&target->fields[i], value, fault))
			return false;
	}
	return !rest;
}

/* What to give: all targets, or what belongs to the one that was meant. */
static result misread(const char *form, const struct inject_fault *fault)
{
	char list[512] = "";
	const struct target *target = target_of(fault);

	if (target)
		append_syntax(list, sizeof(list), target);
	for (size_t i = 0; !target && i < ARRAY_SIZE(targets); i++) {
		append(list, sizeof(list), "%s", i == 0 ? "" : i + 1 < ARRAY_SIZE(targets) ? ", " : " or ");
		append_syntax(list, sizeof(list), &targets[i]);
	}
	return fail(STATUS_USAGE, "give %s, where TARGET is %s, POSITION a number or \"now\"", form, list);
}

static result parse(const char *spec, unsigned replicas, struct inject_fault *fault)
{
	static const char form[] = "REPLICA:TARGET@POSITION";
	char text[INJECT_TEXT_MAX];
	uint64_t replica;

	*fault = (struct inject_fault){ .target = ARRAY_SIZE(targets) };
	if (strlen(spec) >= sizeof(text))
		return misread(form, fault);
	memcpy(text, spec, strlen(spec) + 1);

	char *position = strchr(text, '@');

	if (position)
		*position++ = '\0';
	char *target = strchr(text, ':');

	if (!position || !target)
		return misread(form, fault);
	*target++ = '\0';
	fault->target = 0;
	if (!read_target(target, fault) || !read_number(text, &replica) || !read_position(position, &fault->position))
		return misread(form, fault);
	if (replica >= replicas)
		return fail(STATUS_USAGE, "replicas are numbered 0 to %u", replicas - 1);
	fault->replica = (uint32_t)replica;
	return check(fault);
}

result inject_parse(const char *spec, unsigned replicas, struct inject_fault *fault)
{
	return in_context(parse(spec, replicas, fault), "--inject %s", spec);
}

static result parse_target(const char *target, const char *at, struct inject_fault *fault)
{
	static const char form[] = "TARGET at POSITION";
	char text[INJECT_TEXT_MAX];

	*fault = (struct inject_fault){ .target = ARRAY_SIZE(targets) };
	if (strlen(target) >= sizeof(text))
		return misread(form, fault);
	memcpy(text, target, strlen(target) + 1);
	fault->target = 0;
	if (!read_target(text, fault) || !read_position(at, &fault->position))
		return misread(form, fault);
	return check(fault);
}

result inject_parse_target(const char *target, const char *at, struct inject_fault *fault)
{
	return in_context(parse_target(target, at, fault), "inject %s at %s", target, at);
}

/* --- writing --- */

void inject_describe(const struct inject_fault *fault, char *text, size_t size)
{
	const struct target *target = target_of(fault);

	invariant(size > 0);
	text[0] = '\0';
	append(text, size, "%s", target ? target->name : "unknown");
	for (size_t i = 0; target && i < FIELDS_MAX && target->fields[i].slot != SLOT_NONE; i++) {
		const struct field *field = &target->fields[i];
		unsigned long long value = field_value(field, fault);

		if (field->slot == SLOT_NAME)
			append(text, size, ":%.*s", (int)sizeof(fault->name), fault->name);
		else
			append(text, size, field->hexadecimal ? ":0x%llx" : ":%llu", value);
	}
	if (fault->position == 0)
		append(text, size, "@now");
	else
		append(text, size, "@%llu", (unsigned long long)fault->position);
}

const char *inject_help(void)
{
	static char help[2048];

	if (help[0] != '\0')
		return help;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		char syntax[64] = "";

		append_syntax(syntax, sizeof(syntax), &targets[i]);
		append(help, sizeof(help), "  %-22s %s\n", syntax, targets[i].help);
	}
	return help;
}

static json_t *field_json(const struct field *field)
{
	if (!field->range)
		return json_pack("{s:s, s:s}", "name", field->label, "from", field->from);
	return json_pack("{s:s, s:I, s:I}", "name", field->label, "least", (json_int_t)field->least, "most",
			 (json_int_t)field->most);
}

static json_t *target_json(const struct target *target)
{
	json_t *parameters = json_array();
	char syntax[64] = "";

	append_syntax(syntax, sizeof(syntax), target);
	for (size_t i = 0; i < FIELDS_MAX && target->fields[i].slot != SLOT_NONE; i++)
		(void)json_array_append_new(parameters, field_json(&target->fields[i]));
	return json_pack("{s:s, s:s, s:s, s:b, s:o}", "name", target->name, "syntax", syntax, "help", target->help,
			 "settled", target->needs_settled, "parameters", parameters);
}

json_t *inject_targets_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		(void)json_array_append_new(list, target_json(&targets[i]));
	return json_pack("{s:o, s:o, s:o}", "targets", list, "registers", inject_target_registers_json(), "devices",
			 inject_target_devices_json());
}

/* --- committing --- */

bool inject_needs_settled(const struct inject_fault *fault)
{
	const struct target *target = target_of(fault);

	return target && target->needs_settled;
}

result inject_commit(const struct inject_fault *fault, struct inject_context *context)
{
	char text[INJECT_TEXT_MAX];

	TRY(inject_check(fault));
	inject_describe(fault, text, sizeof(text));
	return in_context(targets[fault->target].commit(fault, context), "inject %s", text);
}

void inject_dawdle(uint64_t slow_factor, uint64_t begin)
{
	if (slow_factor > 1) {
		uint64_t pause = (clock_monotonic_ns() - begin) * (slow_factor - 1);
		const struct timespec span = { .tv_sec = (time_t)(pause / NS_PER_S),
					       .tv_nsec = (long)(pause % NS_PER_S) };

		(void)nanosleep(&span, NULL);
	}
}
