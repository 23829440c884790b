/*
 * Ballots: what a replica says of itself at a vote point, and its logs of what led there.
 */
#ifndef TERCET_LOCKSTEP_BALLOT_H
#define TERCET_LOCKSTEP_BALLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/digest.h"
#include "lockstep/hotpages.h"
#include "lockstep/outbox.h"
#include "lockstep/pagehash.h"
#include "vmm/machine.h"

struct ballot_box {
	struct area *area;
	struct machine *machine;
	struct outbox *outbox;
	struct digest_context digests;
	struct pagehash pages;
	uint64_t *dirty;         /* bitmap of pages that are to be hashed */
	uint64_t *watch;         /* bitmap of those of them whose next write is to be noticed */
	struct hotpages hot;
	uint64_t *scrub;         /* likewise, though nobody is known to have written them */
	uint64_t *fresh;         /* bitmap of pages that were written and hashed since the scrub last came by */
	uint64_t changes;        /* page hash changes so far */
	uint64_t changes_voted;  /* that belong to votes that were cast */
	uint64_t voted_position; /* up to which exits were hashed */
	uint64_t votes;
	uint64_t cast_ns[CONTROL_VOTE_SLOTS]; /* when the last votes were published, by number, without waits */
	uint64_t waited_ns;      /* waits so far */
	uint64_t waits_since_ns; /* host time at which the wait at hand began; 0: there is none */
	bool compared; /* false: there is nothing to compare with, digests are left out */
};

/* `compared` is false where there is only one replica: then ballots carry no digests. */
must_check result ballot_box_create(struct ballot_box *box, struct area *area, struct machine *machine,
				    struct outbox *outbox, const uint8_t key[DIGEST_KEY_SIZE], bool compared);
void ballot_box_destroy(struct ballot_box *box);

/* Books the exit at hand in the exit log. */
void ballot_box_log_exit(struct ballot_box *box);

/* Fills and publishes the record of the next vote; the machine is settled. `record` brings what the replica
 * knows (position, cause, end, inputs); everything else is filled in. */
must_check result ballot_box_cast(struct ballot_box *box, const struct vote_record *facts);

/* The digest of all memory as it is now, between two votes. */
must_check result ballot_box_memory(struct ballot_box *box, struct digest *digest);

/* Brings the hash table up to date with memory that no vote will speak of. */
must_check result ballot_box_refresh(struct ballot_box *box);

/* After the machine has taken over the state that another one voted as `other`: casts that vote from this machine's
 * own state and goes on from there. What it did not go through itself (exits, output) is the other's. Errors: its
 * own state is not what was voted. */
must_check result ballot_box_take_over(struct ballot_box *box, const struct vote_record *other);

/* Publishes the record that ballot_box_take_over made, with what it says of this replica's way on. */
void ballot_box_publish(struct ballot_box *box, uint64_t tape_at, uint32_t epoch);

/* A wait for others begins or ends. */
void ballot_box_wait(struct ballot_box *box, bool waits);

/* For how long, in ns, the replica has gone on since it published this vote, one of the last CONTROL_VOTE_SLOTS: waits
 * do not count. */
uint64_t ballot_box_since(const struct ballot_box *box, uint64_t vote);

/* The scrub comes by `count` pages from `page` on, all of them memory: at the next vote they are hashed again, except
 * for those that were hashed since it last came by because somebody wrote them. */
void ballot_box_scrub(struct ballot_box *box, uint64_t page, uint64_t count);

#endif
