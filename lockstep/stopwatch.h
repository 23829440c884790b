/*
 * Stopwatch: where a process's time goes. It has one hand: at any moment one stage is running, and whoever begins
 * another ends it. So the stages add up to the whole time, whatever is between them. Who interrupts a stage for a
 * while reads `stage` before, and goes back to it.
 *
 * A change of stage is one reading of CLOCK_MONOTONIC (some 25 ns where the kernel needs no system call for it) and
 * an addition. A replica has three changes an exit, more at votes.
 */
#ifndef TERCET_LOCKSTEP_STOPWATCH_H
#define TERCET_LOCKSTEP_STOPWATCH_H

#include <stdint.h>

/* What a replica does. */
enum stage {
	STAGE_STARTUP,      /* from its birth to its first position: program, files, memory, KVM */
	STAGE_GUEST,        /* inside its guest, searches for stops included */
	STAGE_EXIT,         /* answers exits: devices */
	STAGE_TAPE,         /* inputs and the tape, and delivering interrupts */
	STAGE_BALLOT,       /* votes: state of the vCPU and the devices, exits, publishing */
	STAGE_DIRTY_LOG,    /* votes: which pages were written */
	STAGE_HASH,         /* votes: hashing them */
	STAGE_CHECKPOINT,   /* of two replicas: keeping what both agreed about */
	STAGE_WAIT_LEADER,  /* for the leader's tape */
	STAGE_WAIT_VERDICT, /* for a verdict */
	STAGE_WAIT_ROOM,    /* for room on the tape */
	STAGE_RENDEZVOUS,   /* for the others, at each exit (--sync strict) */
	STAGE_HALT,         /* for something to do, in a halted guest */
	STAGE_REPAIR,       /* takes over a state, or waits for what becomes of a complaint */
	STAGE_END,          /* behind the last vote: its verdict, the comparison of all memory, the way out */
	STAGES
};

/* What the supervisor does. */
enum duty {
	DUTY_STARTUP, /* sets up the machine and starts the replicas */
	DUTY_SLEEP,   /* has nothing to do */
	DUTY_JUDGE,   /* votes and repairs */
	DUTY_COMMIT,  /* lets out what was voted on */
	DUTY_SERVE,   /* console, devices, monitor */
	DUTY_COMPARE, /* all memory, at the end */
	DUTY_END,     /* ends the replicas, writes reports */
	DUTIES
};

enum { STOPWATCH_STAGES = 16 };

struct stopwatch {
	uint64_t since; /* host ns at which the present stage began; 0: it does not run */
	uint64_t stage; /* the present one */
	uint64_t ns[STOPWATCH_STAGES]; /* that are over */
};

/* The name of a stage, for statistics ("guest", "wait_leader", ...), and of a duty. */
const char *stage_name(enum stage stage);
const char *duty_name(enum duty duty);

/* Begins a stage at host time `now`; one that runs ends there. Time does not go back: an earlier `now` adds nothing. */
void stopwatch_enter_at(struct stopwatch *watch, unsigned stage, uint64_t now);

/* Begins a stage now; gives the host time. */
uint64_t stopwatch_enter(struct stopwatch *watch, unsigned stage);

/* Ends the present stage: from here on nothing is counted. */
void stopwatch_stop(struct stopwatch *watch);

/* ns of all stages. */
uint64_t stopwatch_total(const struct stopwatch *watch);

/* ns that a replica made ballots: STAGE_BALLOT, STAGE_DIRTY_LOG and STAGE_HASH. */
uint64_t stopwatch_votes(const struct stopwatch *watch);

/* ns that it waited for others: the leader, a verdict, room, a rendezvous. */
uint64_t stopwatch_waits(const struct stopwatch *watch);

#endif
