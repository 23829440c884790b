/*
 * The protocol of votes and recovery as a Promela model, to be checked exhaustively with spin (tests/model/run).
 * docs/model.md says what is modelled, what is not, and how to read a counterexample. Words as in docs/design.md.
 *
 * What a guest is here: each key press and each tick of its clock that it takes leads to one segment, whose output
 * names that press or tick by number; besides, it runs FREE segments that take nothing and say nothing. So the
 * stream of outputs that a machine must release is known whatever the order of events: every press once, every
 * tick once, each in order. A replica's state is how far it got, and whether its data are wrong (`bad`: which
 * wrong data they are; two replicas never have the same).
 *
 * One d_step is one action that others cannot see halfway: what a replica publishes by one store with release, or
 * what nobody else reads before such a store. What others can see halfway is in two steps: the VOTE entry on the
 * tape and the vote record; decision, leadership and orders on one side, and the published verdict on the other.
 */
#ifndef REPLICAS
#define REPLICAS 3
#endif
#ifndef KEYS
#define KEYS 2     /* presses in the inbox, at most 3 */
#endif
#ifndef TICKS
#define TICKS 1    /* at most 3 */
#endif
#ifndef FREE
#define FREE 1     /* segments without input */
#endif
#ifndef FAULTS
#define FAULTS 1   /* one after the other: each when all replicas are healthy again */
#endif
#ifndef SLIPS
#define SLIPS 1    /* repairs that leave wrong data in the replica under repair */
#endif
#ifndef BACKLOG
#define BACKLOG 2  /* votes that the leader may be ahead of the verdicts */
#endif

/* Seeded bugs: with -DM_name, the one of that name is in. tests/model/run shows that each is found. */

#define EPOCHS (FAULTS + 1)
#define OUTS (KEYS + TICKS + 1)
#define TAPE (8 + 6 * FAULTS)
#define NONE 255

/* What a tape entry is, in its low three bits; its position is in the others. 1 to 3: that key press. */
#define TICK 4
#define VOTE 5
#define JUNK 6
#define WRONG 15 /* an item of output; a press by its number, tick n as TICK + n */

/* How a leadership begins. */
#define AT_VOTE 1
#define TAPE_END 2

#define RESYNC 1
#define ROLLBACK 2

typedef Record {
	byte p; byte k; byte t; byte o; byte bad;
	byte at; byte ep; /* offset into the tape of that epoch's leader, just behind the VOTE entry */
}
typedef Leadership {
	byte leader; byte mode; byte vote; byte tend; byte rend; byte base;
}

/* The supervisor's page. */
byte verdicts;
byte epochs = 1;
Leadership lead[EPOCHS];
byte order[REPLICAS];
byte donor[REPLICAS];
bool hold;
byte freed; /* presses that the inbox no longer holds */

/* What the supervisor knows besides. */
bool live[REPLICAS];
bool fresh[REPLICAS]; /* a new process with a copied memory: joinable */
byte decided;
byte taken;     /* outputs released */
byte holdfrom;  /* the first vote at which the leader is sure to have seen `hold` */
byte rb;        /* rollback: 1: the follower goes back, 2: the leader is resynced */
bool tried;     /* rolled back, and no agreed vote since */
bool failstop;
Record agreed;

/* The replicas: processes, machines, areas. */
bool alive[REPLICAS];
byte p[REPLICAS];    /* position */
byte k[REPLICAS];    /* presses taken */
byte t[REPLICAS];    /* ticks taken */
byte pend[REPLICAS]; /* taken at this position, the segment is still to run */
byte bad[REPLICAS];
byte ep[REPLICAS];
byte at[REPLICAS];
bool voting[REPLICAS]; /* the VOTE is on the tape, the record is not published */
bool complains[REPLICAS];
bool done[REPLICAS];
bool moved[REPLICAS]; /* since its last vote */
byte votes[REPLICAS];
byte reached[REPLICAS];
byte written[REPLICAS];
byte tape[REPLICAS * TAPE];
byte o[REPLICAS];
byte out[REPLICAS * OUTS];
Record rec[REPLICAS * BACKLOG];
#if REPLICAS == 2
Record checkpoint[REPLICAS];
byte checked[REPLICAS]; /* votes up to here have a checkpoint */
#endif

/* The world, and what must never be. */
bool output_wrong;     /* or lost, doubled, out of order */
bool unvoted;          /* output leaves that no majority voted for */
bool majority_missing;
bool joined_wrong;     /* a replica takes part that has not the majority's state */
bool endless;          /* there are more votes than any run needs */
bool unfinished;       /* nothing moves any more, though something is left to do */
byte presses_out; /* presses and ticks whose output was released */
byte ticks_out;
byte faults = FAULTS;
byte slips = SLIPS;
byte junks;       /* misdeeds that a wrong leader still commits */
bool no_way_back; /* two replicas: the fault hit where a rollback cannot help */

/* For use within one d_step only, where they are set before they are read. */
hidden byte x, y, z, n;

#if REPLICAS == 2
#define ANY(is) (is(0) || is(1))
#define ALL(is) (is(0) && is(1))
#define SUM(is) (is(0) + is(1))
#else
#define ANY(is) (is(0) || is(1) || is(2))
#define ALL(is) (is(0) && is(1) && is(2))
#define SUM(is) (is(0) + is(1) + is(2))
#endif

#define SLOT(i, v) ((i) * BACKLOG + (v) % BACKLOG)
#define LEADER (lead[epochs - 1].leader)
#define LED_BY(i) (lead[ep[i]].leader)
#define LEADS(i) (LED_BY(i) == i)
#define STANDS(i) (votes[i] > verdicts)
#define RUNS(i) (alive[i] && !order[i] && !fresh[i] && !failstop)

#include "replica.pml"
#include "supervisor.pml"

/* --- the world --- */

#define IS_WELL(i) (alive[i] && live[i] && !fresh[i] && !bad[i] && !order[i] && !complains[i])
#if REPLICAS == 2
/* There is nothing to go back to before the first verdict, nor twice to the same vote, nor where the checkpoint is
 * made of what went wrong behind the ballot. */
#define CORRUPT(i) :: bad[i] = 1 + i; no_way_back = (no_way_back || (i != LEADER && !CHECKED(i)))
#else
#define CORRUPT(i) :: bad[i] = 1 + i
#endif
#define KILL(i) :: alive[i] = false
#define IS_UNREAD(i, ahead) (i != LEADER && ep[i] == epochs - 1 && at[i] + ahead < written[LEADER] && LEADS(LEADER))
/* Damage that nobody has met yet is a fault still; so it is the last. */
#define DAMAGE_TAPE(i, ahead) :: faults == 0 && IS_UNREAD(i, ahead) -> tape[LEADER * TAPE + at[i] + ahead] = JUNK
#define DAMAGE_OUTBOX(i) :: faults == 0 && o[i] > taken -> out[i * OUTS + taken] = WRONG

/* Until the first fault, followers are alike: what hits one of them is what hits the other. */
proctype Fault()
{
end:
	do
	:: atomic { faults > 0 && ALL(IS_WELL) ->
		faults--;
		junks = 1;
#if REPLICAS == 2
		no_way_back = (decided == 0 || tried);
#endif
		if
		CORRUPT(0) CORRUPT(1)
		KILL(0) KILL(1)
		DAMAGE_TAPE(0, 0) DAMAGE_TAPE(1, 0)
		DAMAGE_TAPE(0, 1) DAMAGE_TAPE(1, 1)
		DAMAGE_OUTBOX(0) DAMAGE_OUTBOX(1)
#if REPLICAS == 3
#if FAULTS > 1
		CORRUPT(2)
		KILL(2)
		DAMAGE_TAPE(2, 0)
		DAMAGE_TAPE(2, 1)
		DAMAGE_OUTBOX(2)
#endif
#endif
		fi }
	/* Nothing more happens. */
	:: faults > 0 -> faults = 0
	od
}

#define IS_EVEN(i) (votes[i] == verdicts && p[i] == agreed.p && k[i] == KEYS && t[i] == TICKS && o[i] == taken)

/* When nothing moves any more, everything must have happened. */
proctype End()
{
	timeout ->
	unfinished = (failstop -> !no_way_back : !(presses_out == KEYS && ticks_out == TICKS &&
						   decided == verdicts && ALL(IS_WELL) && ALL(IS_EVEN)));
	assert(!unfinished)
}

init
{
	d_step {
		x = 0;
		do
		:: x < REPLICAS -> live[x] = true; alive[x] = true; x++
		:: else -> break
		od;
		skip
	};
	atomic {
		run Replica(0);
		run Replica(1);
#if REPLICAS == 3
		run Replica(2);
#endif
		run Supervisor();
		run Fault();
		run End()
	}
}
