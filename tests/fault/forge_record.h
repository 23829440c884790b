/*
 * Vote records that lie, published in place of honest ones. Modes:
 *
 *   record  one field after the other, in every way, with the right checksum (see forge_record_fields)
 *   stale   variant 0: the record of the vote before, as this one's; 1: the same with this one's number; 2: that of
 *           another replica; 3: zeros
 *   end     the right ballot, and beside it the claim that the guest has powered off (variant: enum machine_end)
 */
#ifndef TERCET_TESTS_FAULT_FORGE_RECORD_H
#define TERCET_TESTS_FAULT_FORGE_RECORD_H

#include "tests/fault/plan.h"

/* The replica is about to publish its record `number`, which still lacks its checksum. */
void forge_record_publish(struct plan *plan, uint64_t number);

#endif
