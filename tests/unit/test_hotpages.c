/* Hot pages: which are left writable, and that no write to one is missed. */
#include "tests/unit/guest_machine.h"

#include <string.h>

#include "base/fd.h"
#include "lockstep/ballot.h"
#include "lockstep/hotpages.h"

enum { PAGES = 256, WORDS = PAGES / 64, PAGE = 131 };

static struct hotpages hotpages;

static bool hot; /* the page is left writable */

static void setup(void)
{
	hot = false;
	must_succeed(hotpages_create(&hotpages, PAGES));
}

static void teardown(void)
{
	hotpages_destroy(&hotpages);
	ck_assert_ptr_null(hotpages.changed);
}

/* A round in which the page was written, or not; whether it is watched from then on. */
static bool watched(bool written, bool changed)
{
	uint64_t dirty[WORDS] = { 0 }, watch[WORDS];

	if (written || hot)
		dirty[PAGE / 64] = 1ull << PAGE % 64;
	hotpages_choose(&hotpages, dirty, watch);
	if (changed)
		hotpages_note(&hotpages, PAGE);
	for (unsigned i = 0; i < WORDS; i++)
		ck_assert_uint_eq(watch[i] & ~dirty[i], 0);
	hot = dirty[PAGE / 64] != watch[PAGE / 64];
	return watch[PAGE / 64] != 0;
}

static void pass(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		(void)watched(false, false);
}

/* One that is written again in so many rounds is left alone, if that is soon. */
START_TEST(comes_back)
{
	ck_assert(watched(true, true));
	pass((unsigned)_i - 1);
	ck_assert_int_eq(watched(true, true), _i > HOTPAGES_ROUNDS);
}
END_TEST

/* Then it is for as long as it changes now and then. */
START_TEST(stays_hot)
{
	ck_assert(watched(true, true));
	for (unsigned i = 0; i < 20; i++) {
		ck_assert(!watched(true, true));
		for (unsigned k = 1; k < HOTPAGES_ROUNDS; k++)
			ck_assert(!watched(false, false));
	}
	ck_assert(!watched(false, false));
	ck_assert(watched(false, false));
	/* It has to come back anew. */
	ck_assert(watched(true, true));
	ck_assert(!watched(true, true));
}
END_TEST

/* One that is written with what it holds costs a fault each time, and no hash when nobody writes it. */
START_TEST(does_not_change)
{
	for (unsigned i = 0; i < 20; i++)
		ck_assert(watched(true, false));
}
END_TEST

/* --- a guest --- */

enum { STEPS = 16, ROUNDS = 300, TARGETS = 64, FIRST = 0x400 };

/* Each step writes one of 64 pages, any of them. */
GUEST_CODE(scatter, "movabs $0xD1342543DE82EF95, %r8\n"
		    "1: imul %r8, %rax\n"
		    "add $0x12345, %rax\n"
		    "mov %rax, %rdx\n"
		    "shr $40, %rdx\n"
		    "and $63, %edx\n"
		    "shl $12, %edx\n"
		    "mov %rax, 0x400000(%rdx)\n"
		    "out %al, $0x80\n"
		    "jmp 1b");

struct writer {
	struct guest_machine guest;
	struct area area;
	struct outbox outbox;
	struct ballot_box box;
};

static struct writer writer;

static void setup_writer(void)
{
	const uint8_t key[DIGEST_KEY_SIZE] = { 4, 2 };
	const uint64_t pages = GUEST_MACHINE_MEMORY / RAM_PAGE_SIZE;
	int fd;

	guest_machine_make(&writer.guest, scatter_begin, scatter_end);
	must_succeed(fd_sealed_memory(&fd, "area", area_size(pages)));
	must_succeed(area_map(&writer.area, fd, pages, true));
	area_init(&writer.area);
	outbox_init(&writer.outbox, writer.area.outbox, &writer.area.control->output_written);
	must_succeed(ballot_box_create(&writer.box, &writer.area, &writer.guest.machine, &writer.outbox, key, true));
}

static void teardown_writer(void)
{
	ballot_box_destroy(&writer.box);
	area_unmap(&writer.area);
	guest_machine_destroy(&writer.guest);
}

static void must_be_hashed(void)
{
	for (uint64_t page = FIRST; page < FIRST + TARGETS; page++) {
		const struct digest hash = pagehash_of(&writer.box.digests, page, ram_page(&writer.guest.ram, page));

		ck_assert_mem_eq(&writer.area.page_hashes[page], &hash, sizeof(hash));
	}
}

/* Pages become hot and cold again all the time; the table is right at the end of each round. */
START_TEST(nothing_is_missed)
{
	unsigned begun = 0, ended = 0, most = 0;
	uint64_t before = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t writable[GUEST_MACHINE_BITMAP] = { 0 }, now;
		struct digest digest;

		for (unsigned i = 0; i < STEPS; i++)
			(void)guest_machine_step(&writer.guest);
		must_succeed(ballot_box_memory(&writer.box, &digest));
		must_be_hashed();
		/* Nothing ran since. */
		must_succeed(machine_collect_dirty(&writer.guest.machine, writable));
		now = writable[FIRST / TARGETS];
		begun += (unsigned)__builtin_popcountll(now & ~before);
		ended += (unsigned)__builtin_popcountll(before & ~now);
		most = (unsigned)__builtin_popcountll(now) > most ? (unsigned)__builtin_popcountll(now) : most;
		before = now;
	}
	ck_assert_uint_gt(begun, ROUNDS / 2);
	ck_assert_uint_gt(ended, ROUNDS / 2);
	ck_assert_uint_gt(most, TARGETS / 4);
	ck_assert_uint_lt(most, TARGETS);
}
END_TEST

/* What KVM derived from memory is thrown away with its log: hot pages are watched then. */
START_TEST(after_forgetting)
{
	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		struct digest digest;

		for (unsigned i = 0; i < STEPS; i++)
			(void)guest_machine_step(&writer.guest);
		must_succeed(ballot_box_memory(&writer.box, &digest));
		must_be_hashed();
		if (round % 5 == 4) {
			guest_machine_settle(&writer.guest);
			must_succeed(machine_forget_memory(&writer.guest.machine));
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hotpages");
	TCase *rules = tcase_create("rules");
	TCase *guest = tcase_create("guest");

	tcase_add_checked_fixture(rules, setup, teardown);
	tcase_add_loop_test(rules, comes_back, 1, HOTPAGES_ROUNDS + 3);
	tcase_add_test(rules, stays_hot);
	tcase_add_test(rules, does_not_change);
	suite_add_tcase(suite, rules);
	if (guest_machine_available("writes to hot pages")) {
		tcase_add_checked_fixture(guest, setup_writer, teardown_writer);
		tcase_add_test(guest, nothing_is_missed);
		tcase_add_test(guest, after_forgetting);
		suite_add_tcase(suite, guest);
	}
	return fixture_run(suite);
}
