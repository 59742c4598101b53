/*
 * The bookkeeping of retired pages.
 *
 * Each commit retires one page, which is known by its death; its birth is left open.
 * Pages wait in the order of their death. A transaction loads the durable record and
 * scans the readers when it begins. When it commits it has looked at a few lists:
 * those of pages that were dead before the snapshot of the other meta page, once, and
 * those filed under a reader that it did not see. Each page is free then, or filed
 * under the youngest reader that needs it. Meanwhile readers come and go, and leaders
 * move durable up to the head. Scans are of one piece here; register.pml takes them
 * apart.
 *
 * ASYNC: readers take the head, and pages are looked at that were dead at the base. So
 * some wait for durable, the other meta page or the leader, as for readers. When a
 * leader has died, its successor sees to it that only those are looked at that were dead
 * before the other meta page's snapshot, until durable has moved.
 *
 * What must hold:
 *   - safe: no reader, nor head, nor durable, nor the other meta page's snapshot, nor
 *     what a leader is making durable, or left behind, needs a page that is free.
 *   - exact: after a few transactions without a change of readers, each page that
 *     waited and that nobody needs is free. So nothing leaks, and a long reader keeps
 *     its own snapshot and nothing more.
 *   - cheap: a list only goes from one reader to an older one, so a page is looked at
 *     once and once for each reader that it had to wait for.
 *
 * Runs:
 *   holds -
 *   holds READERS=3 LAST=4: more readers, fewer commits
 *   holds NEXT_OLDER: a list is looked at against older readers only, which is enough
 *   holds ASYNC READERS=1: in async mode
 *   holds ASYNC LAST=4: more readers, fewer commits
 *   breaks OLDEST: pages wait until the oldest reader began after their death
 *   breaks FILE_OLDEST NEXT_OLDER READERS=3: lists are filed under the oldest reader that needs them
 *   breaks DROP_LISTS: lists go when their reader goes
 *   breaks FREE_LISTS: lists become free when their reader goes
 *   breaks IGNORE_OTHER: pages are looked at once they were dead at the head
 *   breaks AT_DURABLE: pages are looked at once they were dead at durable
 *   breaks COUNT_SKIPPED: the lists of living readers count as looked at
 *   breaks ASYNC FILED_UNCHECKED: lists that wait for a dead leader come up when it is forgotten
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef LAST
#define LAST 5 /* txid of the last commit */
#endif
#ifndef LISTS
#define LISTS 2 /* lists of either kind that a transaction looks at */
#endif
#define SETTLED 3 /* transactions after which nothing is left to do */
#ifdef ASYNC
#define PINS (READERS + 3)
#define SHOWN head
#else
#define PINS READERS
#define SHOWN durable
#endif

#define RETIRED 1
#define FILED 2
#define FREE 3

byte head = 1, durable = 1, other = 1;
byte reader[READERS]; /* txid of the snapshot, 0 = none */
#ifdef ASYNC
byte syncing, lost;   /* what the leader, and one that died, set out to make durable */
bit leading;
#endif

/* What the transaction that runs has loaded. */
bit begun;
byte limit, seen[PINS];

byte quiet;           /* transactions since readers changed or a page was retired */

/* Of each page, by death. */
byte state[LAST + 1], birth[LAST + 1], under[LAST + 1];

byte d, i, n, r, chosen;
bit held;

#define NEEDS(s, x) (s != 0 && birth[x] <= s && s < x)

#ifdef ASYNC
#define LIMIT (lost == 0 -> head : other)
#else
#ifdef IGNORE_OTHER
#define LIMIT head
#else
#ifdef AT_DURABLE
#define LIMIT durable
#else
#define LIMIT other
#endif
#endif
#endif

#ifdef FILED_UNCHECKED
#define DUE(x) 1
#else
#define DUE(x) (x <= limit)
#endif

inline begin() {
	begun = 1;
	limit = LIMIT;
	for (i : 0 .. READERS-1) { seen[i] = reader[i] }
#ifdef ASYNC
	seen[READERS] = syncing; seen[READERS + 1] = durable; seen[READERS + 2] = other;
#endif
	i = 0
}

inline forget() {
	begun = 0; limit = 0;
	for (i : 0 .. PINS-1) { seen[i] = 0 }
	i = 0
}

inline holds(txid) {
	held = 0;
	for (i : 0 .. PINS-1) { held = held || seen[i] == txid }
}

/* A page is filed under the reader chosen, or is free if there is none. */
inline classify(x) {
	chosen = 0;
	for (i : 0 .. PINS-1) {
		if
#ifdef NEXT_OLDER
		:: under[x] != 0 && seen[i] >= under[x]
#endif
#ifdef FILE_OLDEST
		:: else -> chosen = (NEEDS(seen[i], x) && (chosen == 0 || seen[i] < chosen) -> seen[i] : chosen)
#else
		:: else -> chosen = (NEEDS(seen[i], x) && seen[i] > chosen -> seen[i] : chosen)
#endif
		fi
	}
	assert(under[x] == 0 || chosen < under[x]); /* cheap */
	under[x] = chosen;
	state[x] = (chosen == 0 -> FREE : FILED);
	chosen = 0
}

inline look() {
	n = 0;
#ifdef OLDEST
	for (i : 0 .. PINS-1) { limit = (seen[i] != 0 && seen[i] < limit -> seen[i] : limit) }
#endif
	for (d : 2 .. head) {
		if
		:: state[d] == RETIRED && d <= limit && n < LISTS -> classify(d); n++
		:: else
		fi
	}
#ifndef DROP_LISTS
	n = 0;
	for (r : 1 .. head) {
		holds(r);
#ifdef COUNT_SKIPPED
		for (d : 2 .. head) {
			if
			:: held && state[d] == FILED && under[d] == r -> n++; break
			:: else
			fi
		}
#endif
		for (d : 2 .. head) {
			if
			:: !held && state[d] == FILED && under[d] == r && DUE(d) && n < LISTS ->
				n++;
#ifdef FREE_LISTS
				state[d] = FREE; under[d] = 0
#else
				classify(d)
#endif
			:: else
			fi
		}
	}
#endif
	d = 0; i = 0; n = 0; r = 0; held = 0;
	forget()
}

inline check() {
	for (d : 2 .. head) {
		held = NEEDS(other, d) || NEEDS(durable, d);
#ifdef ASYNC
		held = held || NEEDS(syncing, d);
		assert(state[d] != FREE || !NEEDS(lost, d));                        /* safe */
#endif
		for (i : 0 .. READERS-1) { held = held || NEEDS(reader[i], d) }
		assert(state[d] != FREE || !held);                                  /* safe */
		assert(quiet < SETTLED || d > LIMIT || held || state[d] == FREE)    /* exact */
	}
	d = 0; i = 0; held = 0
}

init {
end:	do
	:: d_step { !begun && (head < LAST || quiet < SETTLED) -> begin() }
	:: atomic { begun && head < LAST -> /* it retires a page */
		d_step { look(); check(); head++; quiet = 0 }
		state[head] = RETIRED;
		birth[head] = 1;
		do
		:: birth[head] < head - 1 -> birth[head]++
		:: break
		od
	}
	:: d_step { begun && quiet < SETTLED -> /* it retires nothing; its txid is left out */
		look(); quiet++; check()
	}
	:: d_step { begun -> /* it is rolled back */
		forget()
	}
#ifdef ASYNC
	:: d_step { !leading && durable < head -> leading = 1; syncing = head; quiet = 0 }
	:: d_step { leading && lost == 0 -> lost = syncing; syncing = head; quiet = 0; check() }
	:: d_step { leading ->
		other = durable; durable = syncing;
		leading = 0; lost = 0;
		quiet = 0; check()
	}
#else
	:: d_step { durable < head || other < durable -> other = durable; durable = head; quiet = 0; check() }
#endif
	:: d_step { reader[0] == 0 -> reader[0] = SHOWN; quiet = 0 }
	:: d_step { reader[0] != 0 -> reader[0] = 0; quiet = 0 }
#if READERS > 1
	:: d_step { reader[1] == 0 -> reader[1] = SHOWN; quiet = 0 }
	:: d_step { reader[1] != 0 -> reader[1] = 0; quiet = 0 }
#endif
#if READERS > 2
	:: d_step { reader[2] == 0 -> reader[2] = SHOWN; quiet = 0 }
	:: d_step { reader[2] != 0 -> reader[2] = 0; quiet = 0 }
#endif
	od
}
