/* The voter, enumerated: every set of voters, every way in which five replicas can agree and differ, against a count
 * that knows nothing of how it is done. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "lockstep/vote.h"

enum { REPLICAS = VOTE_REPLICAS_MAX };

/* One of five different ballots, by number; they differ in a single bit. */
static struct vote_ballot ballot_number(unsigned number)
{
	struct vote_ballot ballot;

	memset(&ballot, 0x5C, sizeof(ballot));
	if (number > 0)
		ballot.digests[number - 1].bytes[3 * number] ^= (uint8_t)(1u << number);
	return ballot;
}

/* By the definition: a ballot wins if more than half of the voters cast it. */
static struct vote_verdict oracle(const unsigned votes[REPLICAS], uint32_t voters)
{
	unsigned tally[REPLICAS] = { 0 };
	unsigned all = 0;
	struct vote_verdict verdict = { .kind = VOTE_NO_MAJORITY, .minority = voters };

	for (unsigned i = 0; i < REPLICAS; i++)
		if (voters & 1u << i) {
			tally[votes[i]]++;
			all++;
		}
	for (unsigned ballot = 0; ballot < REPLICAS; ballot++) {
		if (tally[ballot] * 2 <= all)
			continue;
		verdict.majority = 0;
		verdict.minority = 0;
		for (unsigned i = 0; i < REPLICAS; i++) {
			if (!(voters & 1u << i))
				continue;
			if (votes[i] == ballot)
				verdict.majority |= 1u << i;
			else
				verdict.minority |= 1u << i;
		}
		verdict.kind = verdict.minority ? VOTE_MINORITY : VOTE_UNANIMOUS;
	}
	return verdict;
}

/* Those that take no part have ballots, too, and must not count. */
START_TEST(every_assignment)
{
	uint32_t voters = (uint32_t)_i;
	unsigned kinds[3] = { 0 };

	for (unsigned code = 0; code < 5 * 5 * 5 * 5 * 5; code++) {
		unsigned votes[REPLICAS];
		struct vote_ballot ballots[REPLICAS];
		unsigned rest = code;

		for (unsigned i = 0; i < REPLICAS; i++, rest /= 5) {
			votes[i] = rest % 5;
			ballots[i] = ballot_number(votes[i]);
		}
		const struct vote_verdict told = vote_decide(ballots, voters);
		const struct vote_verdict expected = oracle(votes, voters);

		if (told.kind != expected.kind || told.majority != expected.majority ||
		    told.minority != expected.minority)
			ck_abort_msg("voters 0x%x, ballots %u %u %u %u %u: kind %d, majority 0x%x, minority 0x%x",
				     voters, votes[0], votes[1], votes[2], votes[3], votes[4], (int)told.kind,
				     told.majority, told.minority);
		kinds[told.kind]++;
	}
	/* Nobody agrees on nothing; with one voter nothing can go wrong; with two, a difference has no majority. */
	unsigned count = (unsigned)__builtin_popcount(voters);

	ck_assert_int_eq(kinds[VOTE_UNANIMOUS] > 0, count >= 1);
	ck_assert_int_eq(kinds[VOTE_MINORITY] > 0, count >= 3);
	ck_assert_int_eq(kinds[VOTE_NO_MAJORITY] > 0, count != 1);
}
END_TEST

/* Bits that name no replica change nothing, and are in no set of the verdict. */
START_TEST(bits_above_are_ignored)
{
	for (uint32_t voters = 0; voters < 1u << REPLICAS; voters++)
		for (unsigned odd = 0; odd < REPLICAS; odd++) {
			struct vote_ballot ballots[REPLICAS] = { 0 };

			ballots[odd] = ballot_number(1);
			const struct vote_verdict plain = vote_decide(ballots, voters);

			for (unsigned bit = REPLICAS; bit < 32; bit++) {
				const struct vote_verdict told = vote_decide(ballots, voters | 1u << bit);

				ck_assert_int_eq(told.kind, plain.kind);
				ck_assert_uint_eq(told.majority, plain.majority);
				ck_assert_uint_eq(told.minority, plain.minority);
			}
			ck_assert_uint_eq(plain.majority | plain.minority, voters);
		}
}
END_TEST

/* Every single bit of every digest counts. */
START_TEST(every_bit_counts)
{
	for (unsigned replica = 0; replica < 3; replica++)
		for (unsigned digest = 0; digest < VOTE_DIGESTS; digest++)
			for (unsigned bit = 0; bit < 8 * DIGEST_SIZE; bit++) {
				struct vote_ballot ballots[REPLICAS] = { 0 };

				ballots[replica].digests[digest].bytes[bit / 8] = (uint8_t)(1u << bit % 8);
				const struct vote_verdict verdict = vote_decide(ballots, 7);

				if (verdict.kind != VOTE_MINORITY || verdict.minority != 1u << replica ||
				    verdict.majority != (7u & ~(1u << replica)))
					ck_abort_msg("bit %u of digest %u of replica %u", bit, digest, replica);
				if (vote_decide(ballots, 1u << replica | 8).kind != VOTE_NO_MAJORITY)
					ck_abort_msg("bit %u of digest %u between two", bit, digest);
			}
}
END_TEST

/* Differences in two digests of two replicas that would cancel in a sum or an XOR do not. */
START_TEST(nothing_cancels)
{
	struct vote_ballot ballots[REPLICAS] = { 0 };

	ballots[0].digests[VOTE_CPU].bytes[0] = 1;
	ballots[0].digests[VOTE_RAM].bytes[0] = 1;
	ballots[1].digests[VOTE_CPU].bytes[0] = 2;
	ballots[1].digests[VOTE_RAM].bytes[0] = 0xFE;
	ck_assert_int_eq(vote_decide(ballots, 7).kind, VOTE_NO_MAJORITY);
	ck_assert_uint_eq(vote_decide(ballots, 7).minority, 7);
	ck_assert_uint_eq(vote_decide(ballots, 7).majority, 0);
}
END_TEST

START_TEST(names)
{
	static const char *const expected[VOTE_DIGESTS] = { "exits", "cpu", "devices", "ram", "output" };

	for (unsigned i = 0; i < VOTE_DIGESTS; i++)
		ck_assert_str_eq(vote_digest_name((enum vote_digest)i), expected[i]);
	ck_assert_str_eq(vote_digest_name(VOTE_DIGESTS), "unknown");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vote");
	TCase *tests = tcase_create("voter");

	tcase_add_loop_test(tests, every_assignment, 0, 1 << REPLICAS);
	tcase_add_test(tests, bits_above_are_ignored);
	tcase_add_test(tests, every_bit_counts);
	tcase_add_test(tests, nothing_cancels);
	tcase_add_test(tests, names);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
