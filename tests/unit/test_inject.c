/* Faults on purpose: what a user may write, what may come from another process, and the list of all targets. */
#include "tests/unit/guest_memory.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "lockstep/control.h"
#include "lockstep/inject.h"
#include "vmm/registers.h"

static struct inject_fault fault;

/* At least one of each target: as it may be written, and as it is written back. */
static const struct {
	const char *target, *at, *canonical, *name;
	uint64_t address, bit, position;
} examples[] = {
	{ "reg:rax:5", "1000", "reg:rax:5@1000", "rax", 0, 5, 1000 },
	{ "reg:cs.base:63", "1", "reg:cs.base:63@1", "cs.base", 0, 63, 1 },
	{ "reg:xmm15:127", "1", "reg:xmm15:127@1", "xmm15", 0, 127, 1 },
	{ "reg:st0:79", "1", "reg:st0:79@1", "st0", 0, 79, 1 },
	{ "reg:pending_interrupt:0x1F", "0", "reg:pending_interrupt:31@now", "pending_interrupt", 0, 31, 0 },
	{ "rip:3", "now", "rip:3@now", "rip", 0, 3, 0 },
	{ "cr3:63", "7", "cr3:63@7", "cr3", 0, 63, 7 },
	{ "fpu:xmm0:127", "7", "fpu:xmm0:127@7", "xmm0", 0, 127, 7 },
	{ "fpu:st7:0", "7", "fpu:st7:0@7", "st7", 0, 0, 7 },
	{ "fpu:fip:63", "7", "fpu:fip:63@7", "fip", 0, 63, 7 },
	{ "fpu:mxcsr:31", "7", "fpu:mxcsr:31@7", "mxcsr", 0, 31, 7 },
	{ "mem:0x7F000:7", "0", "mem:0x7f000:7@now", "", 0x7F000, 7, 0 },
	{ "mem:0xFFFFFFFFFFFFFFFF:0", "1", "mem:0xffffffffffffffff:0@1", "", UINT64_MAX, 0, 1 },
	{ "code:63:7", "2", "code:63:7@2", "", 63, 7, 2 },
	{ "page-table:4:63", "2", "page-table:4:63@2", "", 4, 63, 2 },
	{ "page-table:1:0", "2", "page-table:1:0@2", "", 1, 0, 2 },
	{ "device:i8254:100", "18446744073709551615", "device:i8254:100@18446744073709551615", "i8254", 0, 100,
	  UINT64_MAX },
	{ "tape:0x10:1", "2", "tape:16:1@2", "", 16, 1, 2 },
	{ "tape:1048575:1", "2", "tape:1048575:1@2", "", CONTROL_TAPE_SIZE - 1, 1, 2 },
	{ "control:8:0", "2", "control:8:0@2", "", 8, 0, 2 },
	{ "kill", "now", "kill@now", "", 0, 0, 0 },
	{ "stop:10", "2", "stop:10@2", "", 10, 0, 2 },
	{ "hang", "2", "hang@2", "", 0, 0, 2 },
	{ "slow:1000", "2", "slow:1000@2", "", 1000, 0, 2 },
};

START_TEST(understood)
{
	char spec[160], text[INJECT_TEXT_MAX];
	struct inject_fault again;

	must_succeed(inject_parse_target(examples[_i].target, examples[_i].at, &fault));
	ck_assert_uint_eq(fault.replica, 0);
	ck_assert_str_eq(fault.name, examples[_i].name);
	ck_assert_uint_eq(fault.address, examples[_i].address);
	ck_assert_uint_eq(fault.bit, examples[_i].bit);
	ck_assert_uint_eq(fault.position, examples[_i].position);
	must_succeed(inject_check(&fault));

	inject_describe(&fault, text, sizeof(text));
	ck_assert_str_eq(text, examples[_i].canonical);
	(void)snprintf(spec, sizeof(spec), "4:%s", text);
	must_succeed(inject_parse(spec, 5, &again));
	ck_assert_uint_eq(again.replica, 4);
	must_succeed(inject_check(&again));
	again.replica = 0;
	ck_assert_mem_eq(&again, &fault, sizeof(fault));
}
END_TEST

/* The longest names and numbers that there may be one day. */
START_TEST(longest_text)
{
	char text[INJECT_TEXT_MAX], small[8];

	must_succeed(inject_parse_target("device:i8254:1", "1", &fault));
	memset(fault.name, 'n', sizeof(fault.name)); /* no end */
	fault.bit = fault.position = fault.address = UINT64_MAX;
	inject_describe(&fault, text, sizeof(text));
	ck_assert_str_eq(text, "device:nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn:18446744073709551615@18446744073709551615");
	inject_describe(&fault, small, sizeof(small));
	ck_assert_str_eq(small, "device:");
	fault.target = UINT32_MAX;
	inject_describe(&fault, text, sizeof(text));
	ck_assert_str_eq(text, "unknown@18446744073709551615");
	inject_describe(&fault, small, 1);
	ck_assert_str_eq(small, "");
}
END_TEST

static const struct {
	const char *spec, *words;
} refused[] = {
	{ "", "give REPLICA:TARGET@POSITION" },
	{ "@", "give REPLICA:TARGET@POSITION" },
	{ "1", "give REPLICA:TARGET@POSITION" },
	{ "1:", "give REPLICA:TARGET@POSITION" },
	{ "1:@", "give REPLICA:TARGET@POSITION" },
	{ ":::@", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg@5", "where TARGET is reg:NAME:BIT, POSITION" },
	{ "1:reg:rax@5", "where TARGET is reg:NAME:BIT, POSITION" },
	{ "1:reg:rax:5@", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@soon", "POSITION a number or \"now\"" },
	{ "1:reg:rax:5@nowx", "POSITION a number or \"now\"" },
	{ "1:reg:rax:@5", "give REPLICA:TARGET@POSITION" },
	{ ":reg:rax:1@5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg::1@5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5:6@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5:@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7:8", "give REPLICA:TARGET@POSITION" },
	{ "0:mem:0x10@5:3", "give REPLICA:TARGET@POSITION" },
	{ "0@5:mem:0x10:3", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7@8", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7x", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5x@7", "give REPLICA:TARGET@POSITION" },
	{ "one:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "-1:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ " 1:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@ -7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@+7", "give REPLICA:TARGET@POSITION" },
	{ "1:mem:-4096:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@18446744073709551616", "give REPLICA:TARGET@POSITION" },
	{ "1:register:rax:5@7", "where TARGET is reg:NAME:BIT, rip:BIT, " },
	{ "1:re:rax:5@7", ", hang or slow:FACTOR, POSITION" },
	{ "1::rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:mem:rax:5@7", "where TARGET is mem:ADDRESS:BIT, POSITION" },
	{ "1:rip@7", "where TARGET is rip:BIT, POSITION" },
	{ "1:rip:rip:1@7", "where TARGET is rip:BIT, POSITION" },
	{ "1:kill:1@7", "where TARGET is kill, POSITION" },
	{ "1:kill:@7", "where TARGET is kill, POSITION" },
	{ "1:stop@7", "where TARGET is stop:SECONDS, POSITION" },
	{ "1:stop:1:1@7", "where TARGET is stop:SECONDS, POSITION" },
	{ "1:slow:@7", "where TARGET is slow:FACTOR, POSITION" },
	{ "1:device:0123456789012345678901234567890123456789:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:device:01234567890123456789012345678901:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:device:0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	  "000000000000000000000000000000000:5@7",
	  "give REPLICA:TARGET@POSITION" },
	{ "3:reg:rax:5@7", "replicas are numbered 0 to 2" },
	{ "4294967296:reg:rax:5@7", "replicas are numbered 0 to 2" },
	{ "1:reg:eax:5@7", "there is no register \"eax\"" },
	{ "1:reg:rax:64@7", "register rax has no bit 64" },
	{ "1:reg:rax:4294967296@7", "register rax has no bit 4294967296" },
	{ "1:reg:st0:80@7", "register st0 has no bit 80" },
	{ "1:reg:rflags:22@7", "register rflags has no bit 22 that means something" },
	{ "1:rip:64@7", "rip has bits 0 to 63, not 64" },
	{ "1:cr3:64@7", "cr3 has bits 0 to 63, not 64" },
	{ "1:fpu:rax:1@7", "there is no x87 or SSE register \"rax\"" },
	{ "1:fpu:interrupt_shadow:0@7", "there is no x87 or SSE register \"interrupt_shadow\"" },
	{ "1:fpu:pending_interrupt:0@7", "there is no x87 or SSE register \"pending_interrupt\"" },
	{ "1:fpu:pat:0@7", "there is no x87 or SSE register \"pat\"" },
	{ "1:fpu:xmm16:1@7", "there is no x87 or SSE register \"xmm16\"" },
	{ "1:fpu:ftw:8@7", "register ftw has no bit 8" },
	{ "1:mem:0x1000:8@7", "a byte of memory has bits 0 to 7, not 8" },
	{ "1:code:64:0@7", "OFFSET is 0 to 63, not 64" },
	{ "1:code:0:8@7", "a byte of code has bits 0 to 7, not 8" },
	{ "1:page-table:0:0@7", "LEVEL is 1 to 4, not 0" },
	{ "1:page-table:5:0@7", "LEVEL is 1 to 4, not 5" },
	{ "1:page-table:1:64@7", "an entry of a page table has bits 0 to 63, not 64" },
	{ "1:device:nothing:0@7", "there is no device \"nothing\" (but i8254, " },
	{ "1:device:i8042:40@7", "device i8042 has 40 bits of state" },
	{ "1:device:i8042:18446744073709551615@7", "device i8042 has 40 bits of state" },
	{ "1:tape:1048576:0@7", "OFFSET is 0 to 1048575, not 1048576" },
	{ "1:tape:0:8@7", "a byte of the tape has bits 0 to 7, not 8" },
	{ "1:control:0x1000000:0@7", "not 16777216" },
	{ "1:control:0:8@7", "a byte of the control page has bits 0 to 7, not 8" },
	{ "1:stop:0@7", "SECONDS is 1 to 3600, not 0" },
	{ "1:stop:3601@7", "SECONDS is 1 to 3600, not 3601" },
	{ "1:slow:1@7", "FACTOR is 2 to 1000, not 1" },
	{ "1:slow:1001@7", "FACTOR is 2 to 1000, not 1001" },
};

START_TEST(not_understood)
{
	char prefix[256];

	(void)snprintf(prefix, sizeof(prefix), "--inject %s: ", refused[_i].spec);
	must_fail(inject_parse(refused[_i].spec, 3, &fault), STATUS_USAGE, refused[_i].words);
	must_fail(inject_parse(refused[_i].spec, 3, &fault), STATUS_USAGE, prefix);
}
END_TEST

START_TEST(not_understood_apart)
{
	must_fail(inject_parse_target("", "now", &fault), STATUS_USAGE, "inject  at now: give TARGET at POSITION");
	must_fail(inject_parse_target("kill", "", &fault), STATUS_USAGE, "inject kill at : give TARGET at POSITION");
	must_fail(inject_parse_target("kill", "later", &fault), STATUS_USAGE, "POSITION a number or \"now\"");
	must_fail(inject_parse_target("1:kill", "now", &fault), STATUS_USAGE, "hang or slow:FACTOR");
	must_fail(inject_parse_target("kill@now", "now", &fault), STATUS_USAGE, "hang or slow:FACTOR");
	must_fail(inject_parse_target("mem:0:9", "1", &fault), STATUS_USAGE, "inject mem:0:9 at 1: a byte of memory");
	must_fail(inject_parse_target("device:0000000000000000000000000000000000000000000000000000000000000000000000000"
				      "000000000000000000000000000000000000000000000000000000:5",
				      "now", &fault),
		  STATUS_USAGE, "give TARGET at POSITION");
}
END_TEST

/* --- what comes from another process --- */

/* What inject_check lets pass is what somebody could have written: it can be told, and read back. */
static void passes_if_canonical(void)
{
	char text[INJECT_TEXT_MAX], *at;
	struct inject_fault again;

	if (failed(inject_check(&fault)))
		return;
	inject_describe(&fault, text, sizeof(text));
	at = strchr(text, '@');
	ck_assert_ptr_nonnull(at);
	*at++ = '\0';
	must_succeed(inject_parse_target(text, at, &again));
	again.replica = fault.replica;
	ck_assert_mem_eq(&again, &fault, sizeof(fault));
}

/* Each example with each of its bits flipped. */
START_TEST(damaged)
{
	unsigned caught = 0;

	for (size_t bit = 0; bit < 8 * sizeof(fault); bit++) {
		must_succeed(inject_parse_target(examples[_i].target, examples[_i].at, &fault));
		((uint8_t *)&fault)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		passes_if_canonical();
		caught += failed(inject_check(&fault));
	}
	ck_assert_uint_gt(caught, 8 * sizeof(fault) / 2);
}
END_TEST

START_TEST(random_bytes)
{
	uint64_t seed = 3;

	for (unsigned round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof(fault); i++)
			((uint8_t *)&fault)[i] = (uint8_t)fixture_random(&seed);
		fault.target %= ARRAY_SIZE(examples);
		fault.replica %= VOTE_REPLICAS_MAX + 1;
		if (round % 2)
			memset(fault.name, 0, sizeof(fault.name));
		if (round % 4 > 1)
			fault.address %= 80;
		if (round % 8 > 3)
			fault.bit %= 80;
		passes_if_canonical();
	}
}
END_TEST

START_TEST(checked)
{
	must_succeed(inject_parse_target("rip:3", "now", &fault));
	(void)snprintf(fault.name, sizeof(fault.name), "rax");
	must_fail(inject_check(&fault), STATUS_USAGE, "inject: the fault has values that target rip does not");
	must_succeed(inject_parse_target("kill", "now", &fault));
	fault.bit = 1;
	must_fail(inject_check(&fault), STATUS_USAGE, "the fault has values that target kill does not");
	must_succeed(inject_parse_target("slow:2", "now", &fault));
	fault.address = 0;
	must_fail(inject_check(&fault), STATUS_USAGE, "FACTOR is 2 to 1000, not 0");
	fault.target = UINT32_MAX;
	must_fail(inject_check(&fault), STATUS_USAGE, "there is no target 4294967295");
	ck_assert(!inject_needs_settled(&fault));
	must_fail(inject_commit(&fault, NULL), STATUS_USAGE, "there is no target 4294967295");
	must_succeed(inject_parse_target("kill", "now", &fault));
	fault.replica = VOTE_REPLICAS_MAX;
	must_fail(inject_check(&fault), STATUS_USAGE, "there is no replica 5");
	must_fail(inject_commit(&fault, NULL), STATUS_USAGE, "there is no replica 5");
	must_succeed(inject_parse_target("device:i8042:0", "now", &fault));
	memset(fault.name, 'x', sizeof(fault.name));
	must_fail(inject_check(&fault), STATUS_USAGE, "the fault has values that target device does not");
}
END_TEST

/* --- the list of all targets --- */

static const char *string_of(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	ck_assert_msg(value != NULL, "no \"%s\"", key);
	return value;
}

static bool has_example(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		if (strncmp(examples[i].target, name, length) == 0 && strchr(":", examples[i].target[length]))
			return true;
	return false;
}

/* Its machine-readable ranges are those that are checked. */
static void check_parameters(const char *name, const json_t *parameters)
{
	for (size_t i = 0; i < json_array_size(parameters); i++) {
		const json_t *parameter = json_array_get(parameters, i);
		const json_t *most = json_object_get(parameter, "most");
		char target[64] = "";

		if (!most) {
			ck_assert_uint_gt(strlen(string_of(parameter, "from")), 0);
			continue;
		}
		for (json_int_t beyond = 0; beyond < 2; beyond++) {
			(void)snprintf(target, sizeof(target), "%s", name);
			for (size_t j = 0; j < json_array_size(parameters); j++) {
				const json_t *least = json_object_get(json_array_get(parameters, j), "least");
				size_t used = strlen(target);

				(void)snprintf(target + used, sizeof(target) - used, ":%lld",
					       i == j ? json_integer_value(most) + beyond : json_integer_value(least));
			}
			ck_assert_msg(failed(inject_parse_target(target, "now", &fault)) == (beyond == 1), "%s",
				      target);
		}
	}
}

START_TEST(every_target)
{
	json_t *space = inject_targets_json();
	const json_t *targets = json_object_get(space, "targets");

	ck_assert_uint_ge(json_array_size(targets), 14);
	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);
		const char *name = string_of(target, "name");
		const json_t *parameters = json_object_get(target, "parameters");
		char syntax[64], line[96];

		ck_assert_msg(has_example(name), "no example tests target %s", name);
		ck_assert_uint_gt(strlen(string_of(target, "help")), 10);
		(void)snprintf(syntax, sizeof(syntax), "%s", name);
		for (size_t j = 0; j < json_array_size(parameters); j++) {
			size_t used = strlen(syntax);

			(void)snprintf(syntax + used, sizeof(syntax) - used, ":%s",
				       string_of(json_array_get(parameters, j), "name"));
		}
		ck_assert_str_eq(string_of(target, "syntax"), syntax);
		(void)snprintf(line, sizeof(line), "  %-22s %s\n", syntax, string_of(target, "help"));
		ck_assert_msg(strstr(inject_help(), line) != NULL, "help has no line \"%s\"", line);
		ck_assert_uint_le(strlen(line), 100);
		check_parameters(name, parameters);
	}
	json_decref(space);
}
END_TEST

START_TEST(settled)
{
	static const char *const unsettled[] = { "tape:0:0", "control:0:0", "kill", "stop:1", "hang", "slow:2" };
	static const char *const settled_first[] = {
		"reg:rax:0", "rip:0", "cr3:0", "fpu:st0:0", "mem:0:0", "code:0:0", "page-table:1:0", "device:i8254:0",
	};
	json_t *space = inject_targets_json();

	ck_assert_uint_eq(json_array_size(json_object_get(space, "targets")),
			  ARRAY_SIZE(unsettled) + ARRAY_SIZE(settled_first));
	for (size_t i = 0; i < ARRAY_SIZE(unsettled); i++) {
		must_succeed(inject_parse_target(unsettled[i], "now", &fault));
		ck_assert_msg(!inject_needs_settled(&fault), "%s", unsettled[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(settled_first); i++) {
		must_succeed(inject_parse_target(settled_first[i], "now", &fault));
		ck_assert_msg(inject_needs_settled(&fault), "%s", settled_first[i]);
	}
	json_decref(space);
}
END_TEST

static unsigned hexadecimal_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Each bit that the list has can be asked for, and no other. */
START_TEST(every_register)
{
	json_t *space = inject_targets_json();
	const json_t *list = json_object_get(space, "registers");

	ck_assert_uint_eq(json_array_size(list), register_count);
	for (size_t i = 0; i < register_count; i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = string_of(item, "name"), *mask = string_of(item, "mask");
		const bool fpu = json_is_true(json_object_get(item, "fpu"));
		size_t digits = strlen(mask) - 2;
		json_int_t bits = 0;
		char target[64];

		ck_assert_str_eq(name, register_table[i].name);
		ck_assert_uint_eq(digits, 2u * register_table[i].width);
		for (size_t bit = 0; bit < 4 * digits + 2; bit++) {
			unsigned digit = bit < 4 * digits ? hexadecimal_digit(mask[2 + digits - 1 - bit / 4]) : 0;
			bool there = digit >> bit % 4 & 1;

			(void)snprintf(target, sizeof(target), "reg:%s:%zu", name, bit);
			ck_assert_msg(failed(inject_parse_target(target, "now", &fault)) == !there, "%s", target);
			(void)snprintf(target, sizeof(target), "fpu:%s:%zu", name, bit);
			ck_assert_msg(failed(inject_parse_target(target, "now", &fault)) == !(there && fpu), "%s",
				      target);
			bits += there;
		}
		ck_assert_int_eq(json_integer_value(json_object_get(item, "bits")), bits);
		ck_assert_int_gt(bits, 0);
	}
	json_decref(space);
}
END_TEST

START_TEST(every_device)
{
	json_t *space = inject_targets_json();
	const json_t *list = json_object_get(space, "devices");
	json_int_t bits = 0;

	ck_assert_uint_gt(json_array_size(list), 0);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		json_int_t count = json_integer_value(json_object_get(item, "bits"));
		char target[64];

		for (json_int_t bit = count - 1; bit <= count; bit++) {
			(void)snprintf(target, sizeof(target), "device:%s:%lld", string_of(item, "name"), bit);
			ck_assert_msg(failed(inject_parse_target(target, "now", &fault)) == (bit < 0 || bit == count),
				      "%s", target);
		}
		bits += count;
	}
	ck_assert_int_gt(bits, 1000);
	json_decref(space);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inject");
	TCase *specs = tcase_create("specs");
	TCase *strangers = tcase_create("strangers");
	TCase *space = tcase_create("space");

	tcase_add_loop_test(specs, understood, 0, (int)ARRAY_SIZE(examples));
	tcase_add_test(specs, longest_text);
	tcase_add_loop_test(specs, not_understood, 0, (int)ARRAY_SIZE(refused));
	tcase_add_test(specs, not_understood_apart);
	suite_add_tcase(suite, specs);
	tcase_add_loop_test(strangers, damaged, 0, (int)ARRAY_SIZE(examples));
	tcase_add_test(strangers, random_bytes);
	tcase_add_test(strangers, checked);
	tcase_set_timeout(strangers, 60);
	suite_add_tcase(suite, strangers);
	tcase_add_test(space, every_target);
	tcase_add_test(space, settled);
	tcase_add_test(space, every_register);
	tcase_add_test(space, every_device);
	tcase_set_timeout(space, 60);
	suite_add_tcase(suite, space);
	return fixture_run(suite);
}
