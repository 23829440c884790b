/* The supervisor: what it decides, and in which order it says so. Part of protocol.pml. */

#define IS_LIVE(i) live[i]
#define IS_ORDERED(i) (order[i] != 0)
#define HAS_VOTED(i) (!live[i] || votes[i] > decided || IS_COMPLAINING(i))
#define A_VOTE(i) (live[i] && votes[i] > decided)

#define SAME(a, b) (a.p == b.p && a.k == b.k && a.t == b.t && a.o == b.o && a.bad == b.bad)
#define BALLOT(i) rec[SLOT(i, decided)]

/* Two of three complain of the same place on the tape. */
#ifdef M_COMPLAINTS_BY_POSITION
#define SAME_PLACE(i, j) (at[i] == at[j] && p[i] == p[j])
#else
#define SAME_PLACE(i, j) (at[i] == at[j])
#endif
#define OUTVOTE(i, j) (IS_COMPLAINING(i) && IS_COMPLAINING(j) && ep[i] == epochs - 1 && ep[j] == epochs - 1 && \
		       SAME_PLACE(i, j))
#if REPLICAS == 2
#define OUTVOTED false
#else
#define OUTVOTED (OUTVOTE(0, 1) || OUTVOTE(0, 2) || OUTVOTE(1, 2))
#endif

#define SETTLED (decided == verdicts && rb == 0 && !ANY(IS_ORDERED) && !failstop)
#define VOTE_COMPLETE (SETTLED && ALL(HAS_VOTED) && ANY(A_VOTE) && !OUTVOTED)

inline new_leader(d, how, v, tape_end, reached_end)
{
	assert(epochs < EPOCHS);
	lead[epochs].leader = d;
	lead[epochs].mode = how;
	lead[epochs].vote = v;
	lead[epochs].tend = tape_end;
	lead[epochs].rend = reached_end;
	lead[epochs].base = written[d];
	epochs++
}

/* What is of no use to anybody is forgotten here, to have fewer states. The tape and what was reached are of use. */
inline bury(i)
{
	alive[i] = false; live[i] = false; fresh[i] = false; order[i] = 0; done[i] = false;
	k[i] = 0; t[i] = 0; pend[i] = 0; bad[i] = 0; voting[i] = false; complains[i] = false
}

/* Hands output to the world, which knows what is right. */
inline release(from, upto)
{
	do
	:: taken < upto ->
		y = out[from * OUTS + taken];
		if
		:: y == presses_out + 1 && y < TICK -> presses_out++
		:: y == TICK + ticks_out + 1 && y != WRONG -> ticks_out++
		:: else -> output_wrong = true
		fi;
		assert(!output_wrong);
		z = 0;
		do
		:: z < REPLICAS && o[z] > taken -> out[z * OUTS + taken] = 0; z++
		:: z < REPLICAS && o[z] <= taken -> z++
		:: else -> break
		od;
		taken++
	:: else -> break
	od
}

/* Sets n to how many of the live cast this replica's ballot. */
inline count_ballot(i)
{
	n = 0;
	z = 0;
	do
	:: z < REPLICAS ->
		if
		:: live[z] && votes[z] > decided && SAME(BALLOT(z), BALLOT(i)) -> n++
		:: else
		fi;
		z++
	:: else -> break
	od
}

#define A_MAJORITY (2 * n > SUM(IS_LIVE))

/* Whether this replica's outbox no longer holds what it voted for. */
inline rehash(i)
{
	z = taken;
	y = 0;
	do
	:: z < BALLOT(i).o ->
		if
		:: out[i * OUTS + z] == WRONG && !BALLOT(i).bad -> y = 1
		:: else
		fi;
		z++
	:: else -> break
	od
}

/* Sets major to a member of the majority whose outbox is whole, and minor to the replica that differs. */
inline judge()
{
	major = NONE;
	minor = NONE;
	x = 0;
	do
	:: x < REPLICAS ->
		n = 0;
		if
		:: live[x] && votes[x] > decided -> count_ballot(x)
		:: else
		fi;
		if
		:: !live[x]
		:: live[x] && A_MAJORITY ->
			rehash(x);
			if
			:: y == 0 && (major == NONE || x == LEADER) -> major = x
			:: else
			fi
		:: live[x] && !A_MAJORITY -> minor = x
		fi;
		x++
	:: else -> break
	od
}

inline settle_vote()
{
	count_ballot(major);
	unvoted = !A_MAJORITY;
	assert(!unvoted);
#ifdef M_OUTPUT_END_OF_LEADER
	x = (minor == LEADER -> BALLOT(minor).o : BALLOT(major).o);
	release(major, x);
#else
	release(major, BALLOT(major).o);
#endif
	agreed.p = BALLOT(major).p; agreed.k = BALLOT(major).k; agreed.t = BALLOT(major).t;
	agreed.o = BALLOT(major).o; agreed.bad = BALLOT(major).bad;
	agreed.at = BALLOT(major).at; agreed.ep = BALLOT(major).ep;
	tried = false;
	decided++
}

/* Also forgets what nobody can read any more, to have fewer states: the tape up to here and the records. */
inline publish_verdict()
{
	verdicts = decided;
	freed = agreed.k;
	z = 0;
	do
	:: z < REPLICAS ->
		x = 0;
		do
		:: x < agreed.at && z == LEADER && agreed.ep == epochs - 1 -> tape[z * TAPE + x] = 0; x++
		:: else -> break
		od;
		y = SLOT(z, decided - 1);
		rec[y].p = 0; rec[y].k = 0; rec[y].t = 0; rec[y].o = 0; rec[y].bad = 0;
		rec[y].at = 0; rec[y].ep = 0;
		z++
	:: else -> break
	od;
	agreed.at = 0;
	agreed.ep = 0
}

/* A member of the majority that leads nobody: it stands at the vote. */
#define CAN_GIVE(d, i) (live[d] && d != i && d != LEADER)

inline order_resync(i, d)
{
	order[i] = RESYNC;
	donor[i] = d;
	live[i] = false
}

inline find_donor(i)
{
	y = NONE;
	x = 0;
	do
	:: x < REPLICAS ->
		if
		:: CAN_GIVE(x, i) -> y = x
		:: else
		fi;
		x++
	:: else -> break
	od
}

/* A new process joins at this vote, if there is one and a donor stands here. */
inline order_join()
{
	z = 0;
	do
	:: z < REPLICAS && fresh[z] ->
		find_donor(z);
		if
		:: y == NONE && hold && decided - 1 >= holdfrom -> y = LEADER
		:: else
		fi;
		if
		:: y != NONE -> order_resync(z, y)
		:: else
		fi;
		z++
	:: z < REPLICAS && !fresh[z] -> z++
	:: else -> break
	od
}

/* The leader is outvoted. With two replicas that is never known: the rollback does this. */
#ifdef M_INPUTS_NOT_RETURNED
#define INBOX_END k[minor]
#else
#define INBOX_END 0
#endif
#define SUCCEED_AT_VOTE(d) \
	:: d_step { minor == LEADER && CAN_GIVE(d, minor) -> \
		x = minor; \
		new_leader(d, AT_VOTE, decided - 1, INBOX_END, 0); \
		minor = x; \
		find_donor(minor); \
		order_resync(minor, y) }

#define BURY_FOLLOWER(i) :: d_step { live[i] && !alive[i] && LEADER != i -> bury(i) }
#define BURY_LEADER(d) \
	:: d_step { live[LEADER] && !alive[LEADER] && CAN_GIVE(d, LEADER) -> \
		x = LEADER; \
		new_leader(d, TAPE_END, 0, written[x], reached[x]); \
		bury(x) }
/* They complain of one place, but may see it from different positions, and neither goes back. */
#ifdef M_REACHED_END_OF_NEW_LEADER
#define FURTHER(d, j) p[d]
#else
#define FURTHER(d, j) (p[d] > p[j] -> p[d] : p[j])
#endif
#define DEPOSE(d, j) \
	:: d_step { SETTLED && CAN_GIVE(d, LEADER) && CAN_GIVE(j, LEADER) && OUTVOTE(d, j) -> \
		x = LEADER; \
		y = FURTHER(d, j); \
		new_leader(d, TAPE_END, 0, at[d], y); \
		bury(x) }

#define IS_RIGHT(i) (p[i] == agreed.p && k[i] == agreed.k && t[i] == agreed.t && o[i] == agreed.o && !bad[i])

#if REPLICAS == 2
#define OTHER (1 - LEADER)

/* They differ, and nobody can tell who is right. */
inline roll_back()
{
	if
	:: decided == 0 || tried -> failstop = true
	:: else -> tried = true; rb = 1; order[OTHER] = ROLLBACK
	fi
}
#endif

#define ACKNOWLEDGE(i) \
	:: d_step { order[i] == RESYNC && done[i] && rb == 0 -> \
		hold = false; \
		if \
		:: REPAIRED(i) -> \
			order[i] = 0; done[i] = false; fresh[i] = false; live[i] = true; \
			joined_wrong = !IS_RIGHT(i); \
			assert(!joined_wrong) \
		:: else -> bury(i) \
		fi }
#ifdef M_JOIN_WITHOUT_COMPARING
#define REPAIRED(i) true
#else
#define REPAIRED(i) SAME(rec[SLOT(i, decided - 1)], agreed)
#endif
#ifdef M_CHECKPOINT_NOT_COMPARED
#define ROLLED_BACK(i) true
#else
#define ROLLED_BACK(i) SAME(rec[SLOT(i, decided - 1)], agreed)
#endif

/* An area is made anew only when nobody reads the tape in it any more, nor has still to come to where it begins. */
#define LED_LATER(i, e) (e < epochs && lead[e].leader == i)
#ifdef M_AREA_REUSED_EARLY
#define IS_READ(i, j) false
#elif FAULTS == 1
#define IS_READ(i, j) (live[j] && (LED_BY(j) == i || LED_LATER(i, ep[j] + 1)))
#elif defined(M_AREA_REUSED_BEFORE_READ)
#define IS_READ(i, j) (live[j] && LED_BY(j) == i)
#else
#define IS_READ(i, j) (live[j] && (LED_BY(j) == i || LED_LATER(i, ep[j] + 1) || LED_LATER(i, ep[j] + 2)))
#endif
#if REPLICAS == 2
#define UNREAD(i) !(IS_READ(i, 0) || IS_READ(i, 1))
#else
#define UNREAD(i) !(IS_READ(i, 0) || IS_READ(i, 1) || IS_READ(i, 2))
#endif
#define RESPAWN(i) \
	:: d_step { !alive[i] && !live[i] && UNREAD(i) && rb == 0 && !failstop -> \
		x = 0; \
		do \
		:: x < TAPE -> tape[i * TAPE + x] = 0; x++ \
		:: else -> break \
		od; \
		written[i] = 0; reached[i] = 0; votes[i] = 0; p[i] = 0; o[i] = 0; at[i] = 0; moved[i] = false; \
		alive[i] = true; fresh[i] = true; \
		find_donor(i); \
		if \
		:: y == NONE -> hold = true; holdfrom = votes[LEADER] \
		:: else \
		fi }

proctype Supervisor()
{
	byte major = NONE;
	byte minor = NONE;
end:
	do
	BURY_FOLLOWER(0)
	BURY_FOLLOWER(1)
	BURY_LEADER(0)
	BURY_LEADER(1)
#if REPLICAS == 3
	BURY_FOLLOWER(2)
	BURY_LEADER(2)
	DEPOSE(0, 1)
	DEPOSE(0, 2)
	DEPOSE(1, 0)
	DEPOSE(1, 2)
	DEPOSE(2, 0)
	DEPOSE(2, 1)
#endif
	:: atomic { VOTE_COMPLETE ->
		d_step { judge(); skip };
		if
		:: major == NONE ->
#if REPLICAS == 2
			d_step { roll_back() }
#else
			majority_missing = true;
			assert(!majority_missing)
#endif
		:: major != NONE ->
			d_step { settle_vote() };
#ifdef M_VERDICT_BEFORE_REPAIR
			verdicts = decided;
#endif
			if
			SUCCEED_AT_VOTE(0)
			SUCCEED_AT_VOTE(1)
#if REPLICAS == 3
			SUCCEED_AT_VOTE(2)
#endif
			:: d_step { minor != NONE && minor != LEADER -> find_donor(minor); order_resync(minor, y) }
			:: d_step { minor == NONE -> order_join(); skip }
			fi;
			/* Nobody but the supervisor sees the moment between, where nobody is to be repaired. */
			if
			:: d_step { !ANY(IS_ORDERED) -> publish_verdict() }
			:: else
			fi
		fi;
		major = NONE;
		minor = NONE }
#if REPLICAS == 2
	:: d_step { SETTLED && ANY(IS_COMPLAINING) -> roll_back() }
	:: d_step { rb == 1 && done[OTHER] && !failstop ->
		if
		:: ROLLED_BACK(OTHER) -> order_resync(LEADER, OTHER); rb = 2
		:: else -> failstop = true
		fi;
#ifdef M_ROLLED_BACK_GOES_ON
		order[OTHER] = 0; done[OTHER] = false
#endif
		}
	:: d_step { rb == 2 && done[LEADER] ->
		if
		:: REPAIRED(LEADER) ->
			order[LEADER] = 0; done[LEADER] = false; live[LEADER] = true;
			joined_wrong = !(IS_RIGHT(0) && IS_RIGHT(1));
			assert(!joined_wrong)
		:: else -> bury(LEADER)
		fi;
		/* Orders are in force until here: verdict and tape would let both go on. */
		order[OTHER] = 0; done[OTHER] = false; rb = 0;
		new_leader(OTHER, AT_VOTE, decided - 1, 0, 0) }
#endif
#ifdef M_RELEASE_EARLY
	:: d_step { SETTLED && A_VOTE(LEADER) -> release(LEADER, BALLOT(LEADER).o); skip }
#endif
	ACKNOWLEDGE(0)
	ACKNOWLEDGE(1)
	RESPAWN(0)
	RESPAWN(1)
#if REPLICAS == 3
	ACKNOWLEDGE(2)
	RESPAWN(2)
#endif
	:: d_step { decided > verdicts && !ANY(IS_ORDERED) -> publish_verdict() }
	od
}
