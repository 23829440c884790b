/* Port I/O without pause. */
#ifndef TERCET_PAYLOADS_STORM_H
#define TERCET_PAYLOADS_STORM_H

#include "guest-tools/payloads/payload.h"

/* `rounds` of 16 exits: 9 writes and 6 reads of the latch, one look at the PM timer; a line of text every 500
 * rounds. Gives PAYLOAD_WRONG if the timer goes backwards or the latch does not read as written. */
uint32_t storm_run(struct payload *payload, uint64_t rounds);

#endif
