/*
 * Restart: the machine begins again at power-on, when its replicas differ before their first agreed vote. Nothing has
 * left it by then, so nobody can tell this beginning from the first.
 */
#ifndef TERCET_LOCKSTEP_RESTART_H
#define TERCET_LOCKSTEP_RESTART_H

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/*
 * Ends the processes of all replicas, forgets all that they and the supervisor know of the machine, and starts new
 * ones, which boot with the same seed; guest time begins at 0 now. What was typed stays typed, and presses of the power
 * button stay pressed. Faults on purpose that were committed are not committed again, those at later positions are;
 * one that management asked for, and that is not committed, is forgotten.
 *
 * There must be no verdict, and no repair at hand. The leader is booked as the faulty one. Errors: the host cannot.
 */
must_check result restart_machine(struct supervisor *supervisor);

#endif
