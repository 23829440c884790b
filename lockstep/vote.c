#include "lockstep/vote.h"

/* The voters, as they agree with one of them or do not: sets, and how many are in each. */
struct camps {
	uint32_t same, other;
	unsigned same_count, other_count;
};

/*@
	requires \valid_read(a) && \valid_read(b);
	terminates \true;
	assigns \nothing;
	ensures tells_same: \result <==> vote_same_digest(a, b);
*/
static bool same_digest(const struct digest *a, const struct digest *b)
{
	/*@
		loop invariant bound: 0 <= i <= DIGEST_SIZE;
		loop invariant same_so_far: \forall integer k; 0 <= k < i ==> a->bytes[k] == b->bytes[k];
		loop assigns i;
		loop variant DIGEST_SIZE - i;
	*/
	for (unsigned i = 0; i < DIGEST_SIZE; i++)
		if (a->bytes[i] != b->bytes[i])
			return false;
	return true;
}

/*@
	requires \valid_read(a) && \valid_read(b);
	terminates \true;
	assigns \nothing;
	ensures tells_same: \result <==> vote_same(a, b);
*/
static bool same_ballot(const struct vote_ballot *a, const struct vote_ballot *b)
{
	/*@
		loop invariant bound: 0 <= d <= VOTE_DIGESTS;
		loop invariant same_so_far: \forall integer k; 0 <= k < d ==>
			vote_same_digest(&a->digests[k], &b->digests[k]);
		loop assigns d;
		loop variant VOTE_DIGESTS - d;
	*/
	for (unsigned d = 0; d < VOTE_DIGESTS; d++)
		if (!same_digest(&a->digests[d], &b->digests[d]))
			return false;
	return true;
}

/*@
	requires i < 32;
	terminates \true;
	assigns \nothing;
	ensures tells_member: \result <==> vote_in(members, i);
*/
static bool contains(uint32_t members, unsigned i)
{
	return (members & 1u << i) != 0;
}

/*@
	requires i < 32;
	terminates \true;
	assigns \nothing;
	ensures one_more: \forall integer k; 0 <= k < 32 ==> (vote_in(\result, k) <==> k == i || vote_in(members, k));
*/
static uint32_t joined_by(uint32_t members, unsigned i)
{
	return members | 1u << i;
}

/*@
	requires \valid_read(ballots + (0 .. VOTE_REPLICAS_MAX - 1));
	requires candidate_votes: vote_votes(voters, r);
	terminates \true;
	assigns \nothing;
	ensures same_agree: \forall integer k; 0 <= k < 32 ==>
		(vote_in(\result.same, k) <==> vote_agrees(ballots, voters, r, k));
	ensures other_differ: \forall integer k; 0 <= k < 32 ==>
		(vote_in(\result.other, k) <==> vote_votes(voters, k) && !vote_agrees(ballots, voters, r, k));
	ensures counts_decide: \result.same_count > \result.other_count <==> vote_wins(ballots, voters, r);
	ensures itself_counts: \result.same_count > 0;
	ensures none_differs: \result.other_count == 0 <==>
		\forall integer k; vote_votes(voters, k) ==> vote_agrees(ballots, voters, r, k);
*/
static struct camps divide(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters, unsigned r)
{
	struct camps camps = { 0 };

	/*@
		loop invariant bound: 0 <= i <= VOTE_REPLICAS_MAX;
		loop invariant same_so_far: \forall integer k; 0 <= k < 32 ==>
			(vote_in(camps.same, k) <==> k < i && vote_agrees(ballots, voters, r, k));
		loop invariant other_so_far: \forall integer k; 0 <= k < 32 ==>
			(vote_in(camps.other, k) <==>
			 k < i && vote_votes(voters, k) && !vote_agrees(ballots, voters, r, k));
		loop invariant support_so_far: \forall integer count;
			vote_support(ballots, voters, r, i, count) <==> count == camps.same_count;
		loop invariant turnout_so_far: \forall integer count;
			vote_turnout(voters, i, count) <==> count == camps.same_count + camps.other_count;
		loop invariant counts_are_small: camps.same_count + camps.other_count <= i;
		loop invariant itself_counted: r < i ==> camps.same_count > 0;
		loop invariant none_differs_so_far: camps.other_count == 0 <==>
			\forall integer k; k < i && vote_votes(voters, k) ==> vote_agrees(ballots, voters, r, k);
		loop assigns i, camps;
		loop variant VOTE_REPLICAS_MAX - i;
	*/
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		if (!contains(voters, i))
			continue;
		if (same_ballot(&ballots[r], &ballots[i])) {
			camps.same = joined_by(camps.same, i);
			camps.same_count++;
		} else {
			camps.other = joined_by(camps.other, i);
			camps.other_count++;
		}
	}
	/* The prover does not find by itself which numbers the counts of the contract are. */
	/*@ assert support: vote_support(ballots, voters, r, VOTE_REPLICAS_MAX, camps.same_count); */
	/*@ assert turnout: vote_turnout(voters, VOTE_REPLICAS_MAX, camps.same_count + camps.other_count); */
	return camps;
}

struct vote_verdict vote_decide(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters)
{
	uint32_t everyone = 0;

	/*@
		loop invariant bound: 0 <= r <= VOTE_REPLICAS_MAX;
		loop invariant everyone_so_far: \forall integer k; 0 <= k < 32 ==>
			(vote_in(everyone, k) <==> k < r && vote_votes(voters, k));
		loop invariant nobody_won: \forall integer k; k < r ==> !vote_wins(ballots, voters, k);
		loop invariant each_was_contradicted: \forall integer k; 0 <= k < r && vote_votes(voters, k) ==>
			\exists integer j; vote_votes(voters, j) && !vote_agrees(ballots, voters, k, j);
		loop assigns r, everyone;
		loop variant VOTE_REPLICAS_MAX - r;
	*/
	for (unsigned r = 0; r < VOTE_REPLICAS_MAX; r++) {
		if (!contains(voters, r))
			continue;
		struct camps camps = divide(ballots, voters, r);

		if (camps.same_count > camps.other_count)
			return (struct vote_verdict){
				.kind = camps.other_count == 0 ? VOTE_UNANIMOUS : VOTE_MINORITY,
				.majority = camps.same,
				.minority = camps.other,
			};
		everyone = joined_by(everyone, r);
	}
	return (struct vote_verdict){ .kind = VOTE_NO_MAJORITY, .minority = everyone };
}

const char *vote_digest_name(enum vote_digest digest)
{
	switch (digest) {
	case VOTE_EXITS:
		return "exits";
	case VOTE_CPU:
		return "cpu";
	case VOTE_DEVICES:
		return "devices";
	case VOTE_RAM:
		return "ram";
	case VOTE_OUTPUT:
		return "output";
	case VOTE_DIGESTS:
		break;
	}
	return "unknown";
}
