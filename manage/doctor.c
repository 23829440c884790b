#include "manage/doctor.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/result.h"
#include "vmm/host_facts.h"
#include "vmm/host_probe.h"

struct guest_kind {
	const char *title;
	const char *json_name;
	bool linux_guests;
};

static const struct guest_kind guest_kinds[] = {
	{ "Payload guests replicated", "payload_guests", false },
	{ "Linux guests replicated", "linux_guests", true },
};

static void print_verdict(const struct host_probe *probe, const struct guest_kind *kind)
{
	const struct host_feature *obstacle = host_probe_obstacle(probe, kind->linux_guests);

	if (obstacle)
		printf("%s: no - %s is %s; %s\n", kind->title, obstacle->name, host_probe_state_name(obstacle->state),
		       obstacle->remedy);
	else
		printf("%s: yes\n", kind->title);
}

/* What tells how far guests have come: "perf" or "time". */
static const char *estimator_name(const struct host_facts *facts)
{
	return facts->counter == HOST_COUNTER_WORKS ? "perf" : "time";
}

static void print_estimator(const struct host_facts *facts)
{
	if (facts->counter == HOST_COUNTER_WORKS)
		printf("Progress in code that never exits is told by: perf - %s, counted by the CPU\n",
		       facts->counter_unit);
	else
		printf("Progress in code that never exits is told by: time - %s\n", facts->counter_reason);
}

static void print_table(const struct host_probe *probe, const struct host_facts *facts)
{
	printf("%-34s %-8s %-13s %s\n", "feature", "state", "needed by", "for");
	for (size_t i = 0; i < probe->count; i++) {
		const struct host_feature *feature = &probe->features[i];

		printf("%-34s %-8s %-13s %s%s%s%s\n", feature->name, host_probe_state_name(feature->state),
		       host_probe_need_name(feature->need), feature->purpose, feature->detail[0] ? " (" : "",
		       feature->detail, feature->detail[0] ? ")" : "");
		/* What is unknown becomes known when what is missing before it is repaired. */
		if (feature->remedy && feature->state == HOST_MISSING)
			printf("  -> %s\n", feature->remedy);
	}
	printf("\n");
	for (size_t i = 0; i < ARRAY_SIZE(guest_kinds); i++)
		print_verdict(probe, &guest_kinds[i]);
	print_estimator(facts);
}

static json_t *json_of_feature(const struct host_feature *feature)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "name", feature->name, "purpose", feature->purpose,
			 "state", host_probe_state_name(feature->state), "needed_by",
			 host_probe_need_name(feature->need), "detail", feature->detail, "remedy", feature->remedy);
}

static json_t *json_of_estimator(const struct host_facts *facts)
{
	json_t *estimator = json_pack("{s:s, s:s, s:s}", "backend", estimator_name(facts), "unit",
				      facts->counter_unit, "reason", facts->counter_reason);

	if (estimator && facts->counter == HOST_COUNTER_WORKS) {
		(void)json_object_set_new(estimator, "error", json_integer((json_int_t)facts->counter_error));
		(void)json_object_set_new(estimator, "skid", json_integer((json_int_t)facts->counter_skid));
	}
	return estimator;
}

static bool print_json(const struct host_probe *probe, const struct host_facts *facts)
{
	json_t *features = json_array();
	json_t *root = json_object();
	bool good = features && root;

	for (size_t i = 0; i < probe->count && good; i++)
		good = json_array_append_new(features, json_of_feature(&probe->features[i])) == 0;
	good = good && json_object_set_new(root, "tercet", json_string(TERCET_VERSION)) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(guest_kinds) && good; i++) {
		bool runs = !host_probe_obstacle(probe, guest_kinds[i].linux_guests);

		good = json_object_set_new(root, guest_kinds[i].json_name, json_boolean(runs)) == 0;
	}
	good = good && json_object_set_new(root, "estimator", json_of_estimator(facts)) == 0;
	good = good && json_object_set(root, "features", features) == 0;
	good = good && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
	json_decref(features);
	json_decref(root);
	return good;
}

int doctor_main(int argc, char **argv)
{
	bool json = false;
	struct host_facts facts;
	struct host_probe probe;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") != 0) {
			log_error("doctor: unknown argument '%s' (tercet doctor [--json])", argv[i]);
			return STATUS_USAGE;
		}
		json = true;
	}
	host_facts_gather(&facts);
	host_probe_judge(&probe, &facts);
	if (json && !print_json(&probe, &facts)) {
		log_error("doctor: no memory for the report, or standard output cannot be written");
		return STATUS_FAILED;
	}
	if (!json)
		print_table(&probe, &facts);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_error("doctor: standard output cannot be written");
		return STATUS_FAILED;
	}
	return host_probe_payload_ok(&probe) ? STATUS_OK : STATUS_HOST;
}
