/*
 * What management asks of replicas: supervisor_requests.
 */
#ifndef TERCET_LOCKSTEP_REQUEST_H
#define TERCET_LOCKSTEP_REQUEST_H

#include "lockstep/supervisor_state.h"

/* Brings the tally up to date: what it takes from elsewhere, as of now. */
void request_count(struct supervisor *supervisor);

#endif
