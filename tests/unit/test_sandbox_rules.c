/* The tables of sandboxes: sound, and what docs/sandbox.md says. */
#include "tests/unit/guest_memory.h"

#include <seccomp.h>
#include <stdio.h>
#include <string.h>

#include "lockstep/sandbox_rules.h"

#define DOCUMENT "docs/sandbox.md"

static void put_condition(const struct sandbox_rule *rule, char *text, size_t size)
{
	static const char *const ordinals[] = { "first", "second", "third", "fourth" };
	size_t used = 0;

	text[0] = '\0';
	ck_assert_uint_lt(rule->argument, ARRAY_SIZE(ordinals));
	if (rule->check == SANDBOX_OWN_PROCESS)
		used = (size_t)snprintf(text, size, "%s argument: its own process", ordinals[rule->argument]);
	else if (rule->check == SANDBOX_OUTLETS)
		used = (size_t)snprintf(text, size, "%s argument: standard error, the doorbell",
					ordinals[rule->argument]);
	else if (rule->check == SANDBOX_ABSENT)
		used = (size_t)snprintf(text, size, "fails with ENOSYS");
	else if (rule->check != SANDBOX_ALWAYS)
		used = (size_t)snprintf(text, size, "%s argument%s", ordinals[rule->argument],
					rule->check == SANDBOX_WITH    ? " with" :
					rule->check == SANDBOX_WITHOUT ? " without" : ":");
	for (size_t i = 0; i < rule->value_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s %s", i > 0 ? "," : "", rule->values[i].name);
	ck_assert_uint_lt(used, size);
}

static void put_table(enum sandbox_role role, FILE *file)
{
	size_t count;
	const struct sandbox_rule *rules = sandbox_rules(role, &count);
	char condition[1024];

	fprintf(file, "| system call | only | why |\n| --- | --- | --- |\n");
	for (size_t i = 0; i < count; i++) {
		put_condition(&rules[i], condition, sizeof(condition));
		fprintf(file, "| `%s` | %s | %s |\n", rules[i].call, condition, rules[i].why);
	}
}

START_TEST(is_documented)
{
	char *table = NULL, *document = NULL;
	size_t size, length;
	FILE *memory = open_memstream(&table, &size);

	ck_assert_ptr_nonnull(memory);
	put_table((enum sandbox_role)_i, memory);
	(void)fclose(memory);
	FILE *file = fopen(DOCUMENT, "r");

	ck_assert_msg(file != NULL, "%s cannot be read (tests run from the repository's root)", DOCUMENT);
	document = calloc(1, 1 << 20);
	ck_assert_ptr_nonnull(document);
	length = fread(document, 1, (1 << 20) - 1, file);
	(void)fclose(file);
	ck_assert_uint_gt(length, 0);
	ck_assert_msg(strstr(document, table) != NULL, "%s does not have this table:\n%s", DOCUMENT, table);
	free(document);
	free(table);
}
END_TEST

START_TEST(rules_are_sound)
{
	size_t count;
	const struct sandbox_rule *rules = sandbox_rules((enum sandbox_role)_i, &count);

	for (size_t i = 0; i < count; i++) {
		ck_assert_msg(seccomp_syscall_resolve_name(rules[i].call) != __NR_SCMP_ERROR, "what is %s?",
			      rules[i].call);
		ck_assert_msg(strlen(rules[i].why) > 0, "why %s?", rules[i].call);
		ck_assert((rules[i].value_count > 0) ==
			  (rules[i].check == SANDBOX_VALUES || rules[i].check == SANDBOX_WITH ||
			   rules[i].check == SANDBOX_WITHOUT));
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(strcmp(rules[i].call, rules[j].call) != 0, "%s stands there twice",
				      rules[i].call);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox rules");
	TCase *tests = tcase_create("rules");

	tcase_add_loop_test(tests, is_documented, 0, SANDBOX_ROLES);
	tcase_add_loop_test(tests, rules_are_sound, 0, SANDBOX_ROLES);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
