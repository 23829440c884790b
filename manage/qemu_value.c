#include "manage/qemu_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manage/device_options.h"

/* One "key=value" or word. */
static result take_part(const char *option, char *part, const char *implied, json_t *object)
{
	char *equals = strchr(part, '=');
	const char *key = part, *value = "on";

	if (equals) {
		*equals = '\0';
		value = equals + 1;
	} else if (implied) {
		key = implied;
		value = part;
	}
	if (*key == '\0')
		return fail(STATUS_USAGE, "%s: a value without a name before its \"=\"", option);
	if (json_object_get(object, key))
		return fail(STATUS_USAGE, "%s: \"%s\" is given twice", option, key);
	if (json_object_set_new(object, key, json_string(value)) < 0)
		return fail(STATUS_USAGE, "%s: what \"%s\" says is not UTF-8", option, key);
	return OK;
}

static result parse_list(const char *option, char *text, const char *implied, json_t *object)
{
	for (char *part = text, *next; part; part = next) {
		next = device_options_cut(part);
		TRY(take_part(option, part, part == text ? implied : NULL, object));
	}
	return OK;
}

static result parse_json(const char *option, const char *text, json_t **object)
{
	json_error_t error;

	*object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!*object)
		return fail(STATUS_USAGE, "%s: this is not JSON: %s", option, error.text);
	return OK;
}

result qemu_value_parse(const char *option, const char *text, const char *implied, json_t **object)
{
	char *copy;
	result r;

	*object = NULL;
	if (text[0] == '{')
		return parse_json(option, text, object);
	copy = strdup(text);
	*object = json_object();
	if (!copy || !*object) {
		free(copy);
		json_decref(*object);
		*object = NULL;
		return fail(STATUS_FAILED, "no memory for an option");
	}
	r = parse_list(option, copy, implied, *object);
	free(copy);
	if (failed(r)) {
		json_decref(*object);
		*object = NULL;
	}
	return r;
}

result qemu_value_text(const char *option, const json_t *object, const char *key, const char **text)
{
	const json_t *member = json_object_get(object, key);

	if (!member)
		return OK;
	if (!json_is_string(member))
		return fail(STATUS_USAGE, "%s: \"%s\" must be a text", option, key);
	*text = json_string_value(member);
	return OK;
}

result qemu_value_switch(const char *option, const json_t *object, const char *key, bool *value)
{
	const json_t *member = json_object_get(object, key);
	const char *text = json_string_value(member);

	if (!member)
		return OK;
	if (json_is_boolean(member))
		*value = json_is_true(member);
	else if (text && (strcmp(text, "on") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0))
		*value = true;
	else if (text && (strcmp(text, "off") == 0 || strcmp(text, "no") == 0 || strcmp(text, "false") == 0))
		*value = false;
	else
		return fail(STATUS_USAGE, "%s: \"%s\" is on or off", option, key);
	return OK;
}

result qemu_value_number(const char *option, const json_t *object, const char *key, uint64_t *number)
{
	const json_t *member = json_object_get(object, key);
	const char *text = json_string_value(member);
	char *end;

	if (!member)
		return OK;
	if (json_is_integer(member) && json_integer_value(member) >= 0) {
		*number = (uint64_t)json_integer_value(member);
		return OK;
	}
	if (text && text[0] >= '0' && text[0] <= '9') {
		errno = 0;
		*number = strtoull(text, &end, 0);
		if (errno == 0 && *end == '\0')
			return OK;
	}
	return fail(STATUS_USAGE, "%s: \"%s\" must be a number", option, key);
}

result qemu_value_expect(const char *option, const json_t *object, const char *key, const char *value,
			 const char *why)
{
	const json_t *member = json_object_get(object, key);
	const char *text = json_string_value(member);

	if (json_is_boolean(member))
		text = json_is_true(member) ? "on" : "off";
	if (!member || (text && strcmp(text, value) == 0) ||
	    (json_is_integer(member) && json_integer_value(member) == strtoll(value, NULL, 10)))
		return OK;
	return fail(STATUS_USAGE, "%s: \"%s\" can only be %s: %s", option, key, value, why);
}

result qemu_value_known(const char *option, json_t *object, const char *const *keys)
{
	const char *key;
	const json_t *value;

	json_object_foreach (object, key, value) {
		const char *const *known = keys;

		while (*known && strcmp(*known, key) != 0)
			known++;
		if (!*known)
			return fail(STATUS_USAGE, "%s: \"%s\" is not supported", option, key);
	}
	return OK;
}
