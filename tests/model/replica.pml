/* Replicas: leaders and followers. Part of protocol.pml. */

/* The next leadership has begun for a replica that stands where it begins. */
#define ENDS(i) (ep[i] + 1 < epochs && lead[ep[i] + 1].mode == TAPE_END)
#define AT_END(i) (ENDS(i) && at[i] >= lead[ep[i] + 1].tend)
#ifdef M_SWITCH_BEFORE_TAPE_END
#define MAY_SWITCH(i) (ENDS(i) && !STANDS(i))
#elif defined(M_SWITCH_BEFORE_REACHED)
#define MAY_SWITCH(i) AT_END(i)
#else
#define MAY_SWITCH(i) (AT_END(i) && p[i] >= lead[ep[i] + 1].rend)
#endif
#ifdef M_OLD_TAPE_NOT_VOID
#define SWITCHES_AT_VOTE(i) (lead[ep[i] + 1].leader == i || at[i] >= written[LED_BY(i)])
#else
#define SWITCHES_AT_VOTE(i) true
#endif
#define SWITCHES(i) (MAY_SWITCH(i) || (ep[i] + 1 < epochs && lead[ep[i] + 1].mode == AT_VOTE && \
		     votes[i] == lead[ep[i] + 1].vote + 1 && SWITCHES_AT_VOTE(i)))

#define IS_FRESH(i) fresh[i]
/* A complaint that a leadership has answered is void, though the replica may not have seen that yet. */
#ifdef M_STALE_COMPLAINT
#define IS_COMPLAINING(i) (live[i] && complains[i])
#else
#define IS_COMPLAINING(i) (live[i] && complains[i] && !AT_END(i))
#endif
#define IS_LATENT(i) (live[i] && bad[i])
/*
 * A vote is due when there is something new, or when the supervisor asks for one. A guest does not stay idle for
 * ever, nor does wrong data stay unvoted for ever: IS_LATENT stands for the next tick of a longer run.
 */
#define DUE(i) (moved[i] || (votes[i] == verdicts && (ANY(IS_FRESH) || ANY(IS_LATENT))))
#define LEADING(i) (RUNS(i) && LEADS(i) && !SWITCHES(i) && !voting[i] && !(hold && STANDS(i)))

#if REPLICAS == 2
#define CHECKED(i) (checked[i] == votes[i])
#else
#define CHECKED(i) true
#endif
#define FOLLOWING(i) (RUNS(i) && !LEADS(i) && !SWITCHES(i) && !STANDS(i) && !complains[i] && CHECKED(i))
#define ENTRY(i) (tape[LED_BY(i) * TAPE + at[i]])
#define KIND(i) (ENTRY(i) % 8)
#define POSITION(i) (ENTRY(i) / 8)
#define THERE(i) (at[i] < written[LED_BY(i)] && !AT_END(i))
/* Presses are compared with the inbox, at the follower's own place in it. */
#define FITS(i) (THERE(i) && KIND(i) != JUNK && POSITION(i) == p[i] && pend[i] == 0 && \
		 (KIND(i) == VOTE || (KIND(i) == TICK && t[i] < TICKS) || (KIND(i) < TICK && KIND(i) == k[i] + 1)))
#define LATER(i) (THERE(i) && KIND(i) != JUNK && POSITION(i) > p[i])
#define OPEN(i) (reached[LED_BY(i)] > p[i])
#define HALTED(i) (pend[i] == 0 && p[i] >= k[i] + t[i] + FREE)
/* A damaged entry is complained of where it is seen, which may be before its position, of which nothing is known. */
#define MISFITS(i) ((THERE(i) && !FITS(i) && !LATER(i)) || \
		    ((!THERE(i) || LATER(i)) && OPEN(i) && HALTED(i)))

inline write_entry(i, kind)
{
	endless = written[i] >= TAPE;
	assert(!endless);
	tape[i * TAPE + written[i]] = p[i] * 8 + kind;
	written[i]++
}

inline emit(i, item)
{
	assert(o[i] < OUTS);
	out[i * OUTS + o[i]] = item;
	o[i]++
}

inline run_segment(i, item)
{
	if
	:: pend[i] != 0 && item != NONE -> emit(i, item)
	:: else
	fi;
	pend[i] = 0;
	p[i]++;
	reached[i] = p[i];
	moved[i] = true
}

#define RIGHT_ITEM(i) (pend[i] == TICK -> TICK + t[i] : pend[i])

inline set_record(r, i)
{
	r.p = p[i]; r.k = k[i]; r.t = t[i]; r.o = o[i]; r.bad = bad[i]; r.ep = ep[i];
	r.at = (LEADS(i) -> written[i] : at[i])
}

inline publish_vote(i)
{
	set_record(rec[SLOT(i, votes[i])], i);
	moved[i] = false;
	votes[i]++
}

/* Becomes what a record says, having voted `number` times; wrong data come from elsewhere. */
inline become(i, r, number)
{
	p[i] = r.p; k[i] = r.k; t[i] = r.t; ep[i] = r.ep; at[i] = r.at;
	reached[i] = r.p;
	pend[i] = 0;
	voting[i] = false;
	moved[i] = false;
	complains[i] = false;
	/* The outbox is as long again; what lies behind is nobody's, and forgotten here to have fewer states. */
	o[i] = r.o;
	x = r.o;
	do
	:: x < OUTS -> out[i * OUTS + x] = 0; x++
	:: else -> break
	od;
	/* Nobody reads its tape any more. */
	x = 0;
	do
	:: x < written[i] -> tape[i * TAPE + x] = 0; x++
	:: else -> break
	od;
	votes[i] = number - 1;
	set_record(rec[SLOT(i, votes[i])], i);
	rec[SLOT(i, votes[i])].at = r.at;
	votes[i]++;
	done[i] = true
}

inline forget_checkpoint(i)
{
#if REPLICAS == 2
	checked[i] = 0;
#endif
	skip
}

#define DONOR_RECORD(i) rec[SLOT(donor[i], decided - 1)]
/* A donor that has gone on gives a mixture. */
#define TORN(i) (votes[donor[i]] != decided || p[donor[i]] != DONOR_RECORD(i).p || pend[donor[i]] != 0 || \
		 voting[donor[i]] || k[donor[i]] != DONOR_RECORD(i).k || t[donor[i]] != DONOR_RECORD(i).t)

proctype Replica(byte i)
{
end:
	do
	/* Orders. */
	:: d_step { alive[i] && order[i] == RESYNC && !done[i] ->
		bad[i] = (TORN(i) -> 1 + i : bad[donor[i]]);
		forget_checkpoint(i);
		become(i, DONOR_RECORD(i), decided) }
	:: d_step { alive[i] && order[i] == RESYNC && !done[i] && slips > 0 ->
		slips--;
		bad[i] = 1 + i;
		forget_checkpoint(i);
		become(i, DONOR_RECORD(i), decided) }
#if REPLICAS == 2
	:: d_step { alive[i] && order[i] == ROLLBACK && !done[i] ->
		bad[i] = checkpoint[i].bad;
		become(i, checkpoint[i], decided) }
	:: d_step { RUNS(i) && !LEADS(i) && !STANDS(i) && !CHECKED(i) && !complains[i] ->
		set_record(checkpoint[i], i);
		checked[i] = votes[i] }
#endif
	/* Leaderships. */
	:: d_step { RUNS(i) && SWITCHES(i) ->
		complains[i] = false;
#ifdef M_INPUTS_NOT_RETURNED
		if
		:: lead[ep[i] + 1].mode == AT_VOTE -> k[i] = lead[ep[i] + 1].tend
		:: else
		fi;
#endif
		ep[i]++;
		at[i] = (LEADS(i) -> 0 : lead[ep[i]].base) }
	:: d_step { RUNS(i) && complains[i] && AT_END(i) && !SWITCHES(i) -> complains[i] = false }

	/* The leader. */
	:: d_step { LEADING(i) && pend[i] == 0 && k[i] < KEYS ->
		/* What the inbox no longer holds is passed over. */
		k[i] = (k[i] < freed -> freed : k[i]);
		if
		:: k[i] < KEYS ->
			k[i]++;
			pend[i] = k[i];
			write_entry(i, k[i])
		:: else
		fi
#ifdef M_INBOX_FREED_WHEN_TAKEN
		; freed = k[i]
#endif
		}
	:: d_step { LEADING(i) && pend[i] == 0 && t[i] < TICKS ->
		t[i]++;
		pend[i] = TICK;
		write_entry(i, TICK) }
	:: d_step { LEADING(i) && !HALTED(i) -> run_segment(i, (bad[i] -> WRONG : RIGHT_ITEM(i))) }
	:: d_step { LEADING(i) && bad[i] && pend[i] != 0 -> run_segment(i, NONE) }
	:: d_step { LEADING(i) && bad[i] && junks > 0 -> junks--; write_entry(i, JUNK) }
	:: d_step { LEADING(i) && bad[i] && junks > 0 && HALTED(i) -> junks--; run_segment(i, NONE) }
	:: d_step { LEADING(i) && pend[i] == 0 && DUE(i) && votes[i] < verdicts + BACKLOG ->
		voting[i] = true;
		write_entry(i, VOTE) }
	:: d_step { RUNS(i) && LEADS(i) && voting[i] -> voting[i] = false; publish_vote(i) }

	/* Followers. */
	:: d_step { FOLLOWING(i) && FITS(i) ->
		n = KIND(i);
		at[i]++;
		if
		:: n == VOTE -> publish_vote(i)
		:: n == TICK -> t[i]++; pend[i] = TICK
		:: else -> k[i]++; pend[i] = n
		fi }
	:: d_step { FOLLOWING(i) && !FITS(i) && !MISFITS(i) && OPEN(i) ->
		run_segment(i, (bad[i] -> WRONG : RIGHT_ITEM(i))) }
	:: d_step { FOLLOWING(i) && bad[i] && !FITS(i) && !MISFITS(i) && OPEN(i) && pend[i] != 0 ->
		run_segment(i, NONE) }
	:: d_step { FOLLOWING(i) && (MISFITS(i) || bad[i]) -> complains[i] = true }
	od
}
