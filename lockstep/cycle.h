/*
 * A replica's cycle: its guest runs to the next position, inputs are taken from the tape or put on it, devices answer,
 * and what is due is voted on.
 */
#ifndef TERCET_LOCKSTEP_CYCLE_H
#define TERCET_LOCKSTEP_CYCLE_H

#include <stdint.h>

#include "base/result.h"
#include "devices/device.h"

struct replica;

/* What the devices ask of the machine: struct device_board's `request`; `context` is the replica. */
void cycle_request(void *context, enum board_request request, uint32_t argument);

/* Lives until the replica is told to leave. Errors: it cannot go on; the supervisor must judge that. */
must_check result cycle_run(struct replica *replica);

#endif
