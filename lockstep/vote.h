/*
 * The voter: a pure function of the digests. No I/O, no clock, no state.
 *
 * The comments that begin with an at sign are its contract in ACSL; tests/proof/run proves that vote.c keeps it, for
 * all inputs. docs/proof.md says how to read it.
 */
#ifndef TERCET_LOCKSTEP_VOTE_H
#define TERCET_LOCKSTEP_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/digest_value.h"

enum { VOTE_REPLICAS_MAX = 5 };

/* The digests of one replica at a vote point; any difference is a difference. */
enum vote_digest { VOTE_EXITS, VOTE_CPU, VOTE_DEVICES, VOTE_RAM, VOTE_OUTPUT, VOTE_DIGESTS };

struct vote_ballot {
	struct digest digests[VOTE_DIGESTS];
};

enum vote_kind {
	VOTE_UNANIMOUS,   /* all voters agree */
	VOTE_MINORITY,    /* more than half agree; the others are named */
	VOTE_NO_MAJORITY, /* no ballot was cast by more than half of the voters; also if there is no voter */
};

struct vote_verdict {
	enum vote_kind kind;
	uint32_t majority; /* bit i: replica i is in the majority; 0 if there is none */
	uint32_t minority; /* bit i: replica i voted otherwise; without a majority, every voter */
};

/* The words of the contract. */
/*@
	// Replica i is in the set: its bit is set.
	predicate vote_in(integer members, integer i) = (members & (1 << i)) != 0;

	// Replica i votes. Bits from VOTE_REPLICAS_MAX on name nobody.
	predicate vote_votes(integer voters, integer i) = 0 <= i < VOTE_REPLICAS_MAX && vote_in(voters, i);

	// Two ballots are the same: every byte of every digest is.
	predicate vote_same_digest{L}(struct digest *a, struct digest *b) =
		\forall integer k; 0 <= k < DIGEST_SIZE ==> a->bytes[k] == b->bytes[k];
	predicate vote_same{L}(struct vote_ballot *a, struct vote_ballot *b) =
		\forall integer d; 0 <= d < VOTE_DIGESTS ==> vote_same_digest(&a->digests[d], &b->digests[d]);

	// Replica i votes, and as replica r does.
	predicate vote_agrees{L}(struct vote_ballot *ballots, integer voters, integer r, integer i) =
		vote_votes(voters, i) && vote_same(ballots + r, ballots + i);

	// Of the replicas below n, just `count` vote.
	predicate vote_turnout(integer voters, integer n, integer count) =
		n <= 0 ? count == 0 :
		vote_votes(voters, n - 1) ? vote_turnout(voters, n - 1, count - 1) :
		vote_turnout(voters, n - 1, count);

	// Of the replicas below n, just `count` vote as replica r does.
	predicate vote_support{L}(struct vote_ballot *ballots, integer voters, integer r, integer n, integer count) =
		n <= 0 ? count == 0 :
		vote_agrees(ballots, voters, r, n - 1) ? vote_support(ballots, voters, r, n - 1, count - 1) :
		vote_support(ballots, voters, r, n - 1, count);

	// Replica r votes, and more than half of the voters vote as it does.
	predicate vote_wins{L}(struct vote_ballot *ballots, integer voters, integer r) =
		vote_votes(voters, r) &&
		\exists integer some, all; vote_support(ballots, voters, r, VOTE_REPLICAS_MAX, some) &&
			vote_turnout(voters, VOTE_REPLICAS_MAX, all) && 2 * some > all;

	// Somebody votes, and everybody who does votes the same.
	predicate vote_is_unanimous{L}(struct vote_ballot *ballots, integer voters) =
		(\exists integer i; vote_votes(voters, i)) &&
		\forall integer i, j; vote_votes(voters, i) && vote_votes(voters, j) ==>
			vote_same(ballots + i, ballots + j);
*/

/*
 * Decides. `voters`, bit i for replica i below VOTE_REPLICAS_MAX, says whose ballot counts; bits above are ignored,
 * and so are the ballots of those who do not vote.
 */
/*@
	requires \valid_read(ballots + (0 .. VOTE_REPLICAS_MAX - 1));
	terminates \true;
	assigns \nothing;
	ensures kind_is_known: \result.kind == VOTE_UNANIMOUS || \result.kind == VOTE_MINORITY ||
		\result.kind == VOTE_NO_MAJORITY;
	ensures majority_if_won: (\exists integer r; vote_wins(ballots, voters, r)) ==>
		\result.kind != VOTE_NO_MAJORITY;
	ensures majority_is_the_winner: \result.kind != VOTE_NO_MAJORITY ==>
		\exists integer r; vote_wins(ballots, voters, r) &&
			\forall integer i; 0 <= i < 32 ==>
				(vote_in(\result.majority, i) <==> vote_agrees(ballots, voters, r, i));
	ensures no_majority_is_empty: \result.kind == VOTE_NO_MAJORITY ==> \result.majority == 0;
	ensures minority_is_the_others: \forall integer i; 0 <= i < 32 ==>
		(vote_in(\result.minority, i) <==> vote_votes(voters, i) && !vote_in(\result.majority, i));
	ensures unanimous_if_all_agree: vote_is_unanimous(ballots, voters) ==> \result.kind == VOTE_UNANIMOUS;
	ensures all_agree_if_unanimous: \result.kind == VOTE_UNANIMOUS ==> vote_is_unanimous(ballots, voters);
*/
struct vote_verdict vote_decide(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters);

/* "exits", "cpu", "devices", "ram", "output". */
/*@
	terminates \true;
	assigns \nothing;
	ensures is_there: \valid_read(\result);
*/
const char *vote_digest_name(enum vote_digest digest);

#endif
