/*
 * Leaderships on the supervisor's page: who leads, and from where on (struct leadership in lockstep/control.h).
 */
#ifndef TERCET_LOCKSTEP_LEADERSHIP_H
#define TERCET_LOCKSTEP_LEADERSHIP_H

#include <stdint.h>

#include "lockstep/control.h"

/* Publishes leadership number `epoch`, the one behind the last. */
void leadership_publish(struct supervisor_page *page, uint32_t epoch, const struct leadership *leadership);

#endif
