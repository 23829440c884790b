/*
 * The voter: a pure function of the digests. No I/O, no clock, no state.
 */
#ifndef TERCET_LOCKSTEP_VOTE_H
#define TERCET_LOCKSTEP_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/digest.h"

enum { VOTE_REPLICAS_MAX = 5 };

/* The digests of one replica at a vote point; any difference is a difference. */
enum vote_digest { VOTE_EXITS, VOTE_CPU, VOTE_DEVICES, VOTE_RAM, VOTE_OUTPUT, VOTE_DIGESTS };

struct vote_ballot {
	struct digest digests[VOTE_DIGESTS];
};

enum vote_kind {
	VOTE_UNANIMOUS,   /* all voters agree */
	VOTE_MINORITY,    /* more than half agree; the others are named */
	VOTE_NO_MAJORITY, /* no ballot was cast by more than half of the voters */
};

struct vote_verdict {
	enum vote_kind kind;
	uint32_t majority; /* bit i: replica i is in the majority */
	uint32_t minority; /* bit i: replica i voted otherwise */
};

/* Decides. `voters`, bit i for replica i below VOTE_REPLICAS_MAX, says whose ballot counts; at least one. */
struct vote_verdict vote_decide(const struct vote_ballot ballots[VOTE_REPLICAS_MAX], uint32_t voters);

/* "exits", "cpu", "devices", "ram", "output". */
const char *vote_digest_name(enum vote_digest digest);

#endif
