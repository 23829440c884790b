#include "lockstep/vote.h"

#include <stddef.h>

static bool same_ballot(const struct vote_ballot *a, const struct vote_ballot *b)
{
	for (unsigned d = 0; d < VOTE_DIGESTS; d++)
		for (unsigned i = 0; i < DIGEST_SIZE; i++)
			if (a->digests[d].bytes[i] != b->digests[d].bytes[i])
				return false;
	return true;
}

/* The voters whose ballot equals that of `replica`. */
static uint32_t supporters(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters, unsigned replica)
{
	uint32_t same = 0;

	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++)
		if ((voters >> i & 1) && same_ballot(&ballots[replica], &ballots[i]))
			same |= 1u << i;
	return same;
}

static unsigned count_bits(uint32_t set)
{
	unsigned count = 0;

	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++)
		count += set >> i & 1;
	return count;
}

struct vote_verdict vote_decide(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters)
{
	unsigned all = count_bits(voters);

	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		if (!(voters >> i & 1))
			continue;
		uint32_t same = supporters(ballots, voters, i);

		if (2 * count_bits(same) > all)
			return (struct vote_verdict){
				.kind = same == voters ? VOTE_UNANIMOUS : VOTE_MINORITY,
				.majority = same,
				.minority = voters & ~same,
			};
	}
	return (struct vote_verdict){ .kind = VOTE_NO_MAJORITY, .minority = voters };
}

const char *vote_digest_name(enum vote_digest digest)
{
	static const char *const names[VOTE_DIGESTS] = { "exits", "cpu", "devices", "ram", "output" };

	return digest < VOTE_DIGESTS ? names[digest] : "unknown";
}
