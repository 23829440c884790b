#include "lockstep/recording_diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lockstep/fail_stop_copy.h"
#include "lockstep/fail_stop_tape.h"
#include "lockstep/recording.h"

enum { SIDES = 2, TEXT_SIZE = 800 };

struct side {
	struct recording recording;
	struct recording_item item;
};

/* --- machines --- */

/* One line if a pair of texts differs; gives whether it does. */
static bool differs(const char *what, const char *one, const char *other)
{
	if (strcmp(one, other) == 0)
		return false;
	(void)printf("the machines differ: %s is %s in the first and %s in the second\n", what, one, other);
	return true;
}

static bool numbers_differ(const char *what, uint64_t one, uint64_t other)
{
	char texts[SIDES][32];

	(void)snprintf(texts[0], sizeof(texts[0]), "%" PRIu64, one);
	(void)snprintf(texts[1], sizeof(texts[1]), "%" PRIu64, other);
	return differs(what, texts[0], texts[1]);
}

static bool images_differ(const char *what, const struct tape_file_image *one, const struct tape_file_image *other)
{
	char texts[SIDES][2 * TAPE_FILE_HASH_SIZE + 1];

	if (!one->path[0] || !other->path[0])
		return differs(what, one->path[0] ? "there" : "not there", other->path[0] ? "there" : "not there");
	for (size_t i = 0; i < TAPE_FILE_HASH_SIZE; i++) {
		(void)snprintf(texts[0] + 2 * i, 3, "%02x", one->hash[i]);
		(void)snprintf(texts[1] + 2 * i, 3, "%02x", other->hash[i]);
	}
	return differs(what, texts[0], texts[1]);
}

/* Of what makes the guest another one. When it was started is its first input. */
static bool machines_differ(const struct tape_file_machine *one, const struct tape_file_machine *other)
{
	bool any = numbers_differ("memory", one->memory, other->memory);

	any |= differs("what it runs", one->kind == BOOT_LINUX ? "a kernel" : "a payload",
		       other->kind == BOOT_LINUX ? "a kernel" : "a payload");
	any |= images_differ("the SHA-256 of what it runs", &one->kernel, &other->kernel);
	any |= images_differ("the SHA-256 of its initrd", &one->initrd, &other->initrd);
	any |= differs("its command line", one->command_line, other->command_line);
	if (memcmp(one->seed, other->seed, sizeof(one->seed)) != 0) {
		(void)printf("the machines differ: they have other random seeds\n");
		any = true;
	}
	if (one->rtc_epoch != other->rtc_epoch) {
		(void)printf("the machines differ: the first was started at %" PRId64 ", the second at %" PRId64
			     " (Unix time)\n",
			     one->rtc_epoch, other->rtc_epoch);
		any = true;
	}
	return any;
}

/* --- items --- */

static void describe(const struct recording_item *item, char *text, size_t size)
{
	char what[TEXT_SIZE / 2];
	const struct fail_stop_tape_item entry = {
		.kind = (uint16_t)item->entry.kind,
		.length = item->entry.length,
		.position = item->entry.position,
		.payload = item->entry.payload,
	};

	switch (item->kind) {
	case RECORDING_ENTRY:
		fail_stop_tape_describe(&entry, what, sizeof(what));
		break;
	case RECORDING_VOTE:
		(void)snprintf(what, sizeof(what), "the outcome of vote %" PRIu64, item->vote.number);
		break;
	case RECORDING_END:
		(void)snprintf(what, sizeof(what), "the end (%s)", fail_stop_copy_end_name(item->end.end));
		break;
	}
	(void)snprintf(text, size, "position %" PRIu64 ": %s", item->position, what);
}

static bool entries_differ(const struct tape_entry *one, const struct tape_entry *other)
{
	return one->kind != other->kind || one->position != other->position || one->length != other->length ||
	       memcmp(one->payload, other->payload, one->length) != 0;
}

/* Whether the items at hand differ; `text` says in what, if that is not to be seen from their descriptions. */
static bool items_differ(const struct side sides[SIDES], bool same_keys, char *text, size_t size)
{
	const struct recording_item *one = &sides[0].item, *other = &sides[1].item;

	text[0] = '\0';
	if (one->kind != other->kind)
		return true;
	switch (one->kind) {
	case RECORDING_ENTRY:
		return entries_differ(&one->entry, &other->entry);
	case RECORDING_VOTE:
		return tape_file_compare_votes(&one->vote, &other->vote, same_keys, text, size);
	case RECORDING_END:
		break;
	}
	/* What else an end says follows from what comes before it. */
	return one->end.end != other->end.end;
}

static void tell_difference(const struct side sides[SIDES], const char *difference)
{
	char text[TEXT_SIZE];
	uint64_t position = sides[0].item.position < sides[1].item.position ? sides[0].item.position :
									      sides[1].item.position;

	(void)printf("the recordings differ from position %" PRIu64 " on\n", position);
	for (unsigned i = 0; i < SIDES; i++) {
		describe(&sides[i].item, text, sizeof(text));
		(void)printf("the %s has %s\n", i == 0 ? "first" : "second", text);
	}
	if (difference[0])
		(void)printf("in the first %s\n", difference);
}

static result compare(struct side sides[SIDES], bool *differ)
{
	const struct tape_file_machine *one = &sides[0].recording.machine, *other = &sides[1].recording.machine;
	bool same_keys = memcmp(one->digest_key, other->digest_key, sizeof(one->digest_key)) == 0;
	char difference[TEXT_SIZE];

	*differ = machines_differ(one, other);
	if (!same_keys)
		(void)printf("the machines have other keys for their digests: these are not compared\n");
	while (!sides[0].recording.ended) {
		for (unsigned i = 0; i < SIDES; i++)
			TRY(recording_next(&sides[i].recording, &sides[i].item));
		if (!items_differ(sides, same_keys, difference, sizeof(difference)))
			continue;
		*differ = true;
		tell_difference(sides, difference);
		return OK;
	}
	(void)printf("%" PRIu64 " positions, %" PRIu64 " votes: %s\n", sides[0].recording.position,
		     sides[0].recording.votes,
		     *differ ? "what happened to the machines is the same" : "the recordings are the same");
	return OK;
}

result recording_diff(const char *one, const char *other, bool *differ)
{
	/* Large. */
	static struct side sides[SIDES];
	result r;

	*differ = false;
	sides[1].recording = (struct recording){ .fd = -1 };
	r = recording_open(&sides[0].recording, one);
	if (!failed(r))
		r = recording_open(&sides[1].recording, other);
	if (!failed(r))
		r = compare(sides, differ);
	for (unsigned i = 0; i < SIDES; i++)
		recording_close(&sides[i].recording);
	return r;
}
