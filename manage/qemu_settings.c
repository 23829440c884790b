#include "manage/qemu_settings.h"

#include <stdio.h>
#include <string.h>

#include "manage/qemu_value.h"

#define FW_CFG_PREFIX "opt/tercet/"
#define PAYLOAD "payload"

/* What libvirt has no words for: options of `tercet run`, and whether -kernel is a payload. */
static const char *const settings[] = {
	"replicas",	 "vote-interval",  "watchdog",	  "scrub",   "pin",    "core-faults",
	"preempt-grace", "preempt-budget", "max-segment", "reports", "stats",  "record",
	"seed",		 "inject",	   "time-dilation", "sandbox", "verbose",
	PAYLOAD,
};

static result refuse(const char *name)
{
	char list[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *between = i == 0 ? "" : i + 1 < ARRAY_SIZE(settings) ? ", " : " and ";

		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", between, settings[i]);
		invariant(length < sizeof(list));
	}
	return fail(STATUS_USAGE, "\"%s\" is no setting of tercet's: there are %s", name, list);
}

static result take(struct qemu_options *options, const char *name, const char *value)
{
	/* Unlike the option of this name, whose value is the payload's file. */
	if (strcmp(name, PAYLOAD) == 0)
		return options_switch(PAYLOAD, value, &options->payload);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (strcmp(settings[i], name) == 0)
			return options_set(&options->reader, name, value);
	return refuse(name);
}

result qemu_settings_fw_cfg(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = { "name", "string", NULL };
	const char *name = "", *string = NULL;
	json_t *object;

	TRY(qemu_options_value(options, "-fw_cfg", value, "name", &object));
	TRY(qemu_value_text("-fw_cfg", object, "name", &name));
	if (strncmp(name, FW_CFG_PREFIX, strlen(FW_CFG_PREFIX)) != 0)
		return fail(STATUS_USAGE,
			    "-fw_cfg %s: a guest of tercet's has no fw_cfg device; only names that begin "
			    "with " FW_CFG_PREFIX ", which are settings of tercet's, have a meaning",
			    name);
	TRY(qemu_value_known("-fw_cfg", object, keys));
	TRY(qemu_value_text("-fw_cfg", object, "string", &string));
	if (!string)
		return fail(STATUS_USAGE, "-fw_cfg %s: give its value as string=VALUE", name);
	return in_context(take(options, name + strlen(FW_CFG_PREFIX), string), "-fw_cfg %s", name);
}

result qemu_settings_own(struct qemu_options *options, const char *value)
{
	json_t *object, *member;
	const char *name;

	TRY(qemu_options_value(options, "-tercet", value, NULL, &object));
	json_object_foreach (object, name, member) {
		if (!json_is_string(member))
			return fail(STATUS_USAGE, "-tercet: \"%s\" must be a text", name);
		TRY(in_context(take(options, name, json_string_value(member)), "-tercet"));
	}
	return OK;
}
