/*
 * Values of QEMU's options as JSON objects: "tap,fd=33,id=net0" or "{...}" (QEMU's docs/interop and its manual
 * page, "a comma within a value is written twice"). Words without "=" mean "on", but for the first, which has a
 * key of its own in many options ("driver" of -device).
 */
#ifndef TERCET_MANAGE_QEMU_VALUE_H
#define TERCET_MANAGE_QEMU_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

/* Parses the value of `option`; a first word without "=" becomes the member `implied`, if that is not NULL. The
 * object is new. Errors: STATUS_USAGE not JSON, a key twice or empty. */
must_check result qemu_value_parse(const char *option, const char *text, const char *implied, json_t **object);

/* Members: a text (a number's, too, in the JSON form, is none), a switch ("on", "off", "yes", "no", true,
 * false), a number. What is not there leaves the value as it is. Errors: STATUS_USAGE it is something else. */
must_check result qemu_value_text(const char *option, const json_t *object, const char *key, const char **text);
must_check result qemu_value_switch(const char *option, const json_t *object, const char *key, bool *value);
must_check result qemu_value_number(const char *option, const json_t *object, const char *key,
				    uint64_t *number);

/* A text or a switch or number that must have this value if it is there ("off" is also false). Errors:
 * STATUS_USAGE, with `why`. */
must_check result qemu_value_expect(const char *option, const json_t *object, const char *key,
				    const char *value, const char *why);

/* Every member's key is one of these. Errors: STATUS_USAGE, with the key. */
must_check result qemu_value_known(const char *option, json_t *object, const char *const *keys);

#endif
