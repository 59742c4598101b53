/*
 * Registration of readers against the scan of the writer, word by word.
 *
 * A page lives in [birth, death). The writer loads the durable record, then the reader
 * slots, once. It may reuse a page that was dead at durable if no slot holds a snapshot
 * in between; that the other meta page's snapshot counts instead of durable only makes
 * fewer pages reusable. Meanwhile a leader moves durable on. Which pages there are is
 * left open: any birth and death will do. Free stays free, so that the page found may
 * be stored over at any later time.
 *
 * With FLOOR all readers are of one process that found no slots, and share its floor:
 * a slot that keeps whatever died after the snapshot in it.
 *
 * Each slot belongs to a member: a process that has the member's lock for as long
 * as it lives. When it dies its snapshot stays in the slot, until the next owner of
 * the member's number or a writer cleans it.
 *
 * What must hold: nobody who is past the second look at the record's word reads a
 * snapshot that had a page found free.
 *
 * Runs:
 *   holds -: a writer, a leader, two readers
 *   holds FLOOR: two readers share a floor
 *   breaks NO_SECOND_LOOK: the reader does not look at the word again
 *   breaks SLOTS_FIRST: slots are scanned before durable is loaded
 *   breaks DURABLE_TWICE: durable is loaded again when a page is looked for
 *   breaks HEAD: a page is reused that is dead at the head, but not at durable
 *   breaks NO_SCAN: the writer reuses whatever was dead at durable
 *   breaks CLEAR_EARLY: the reader clears its slot while it still reads
 *   breaks FLOOR NO_LOWERING: one who shares the floor takes it to be as old as his snapshot
 *   breaks FLOOR ONE_SNAPSHOT: the floor keeps the one snapshot in it, and others share it
 *   breaks CLEAN_UNLOCKED: a dead reader's slot is cleaned while its next owner may already use it
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef LAST
#define LAST 3 /* txid of the last commit */
#endif

#define FIRST 1

/* The shared area. */
byte word, txid[2];     /* of the durable record; the lowest bit of its word names the cell */
byte slot[READERS];     /* 0 = nobody reads */
bit locked[READERS];    /* the member's lock: a living owner's, or his who cleans */
byte sharing;           /* readers at the floor */

/* What the property speaks of. */
byte reading[READERS];  /* the snapshot that is being read */
byte birth, death;      /* of a page that was found free; 0 = none yet */

#define NEEDS(t) (t != 0 && birth <= t && t < death)

/* Whether what is in a slot keeps a page from being reused. */
#if defined(FLOOR) && !defined(ONE_SNAPSHOT)
#define PINS(t, b, d) (t != 0 && t < d)
#else
#define PINS(t, b, d) (b <= t && t < d)
#endif

inline scan() {
	i = 0;
	do
	:: i < READERS ->
		seen[i] = slot[i];
		if
		:: seen[i] != 0 -> /* is its owner dead? */
#ifdef CLEAN_UNLOCKED
			if
			:: !locked[i] -> slot[i] = 0; seen[i] = 0
			:: skip
			fi
#else
			if
			:: atomic { !locked[i] -> locked[i] = 1 }
				slot[i] = 0; seen[i] = 0;
				locked[i] = 0
			:: skip
			fi
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* Some page that was dead at durable and that no snapshot seen has. */
inline findPage() {
	b = FIRST;
	do
	:: b < limit -> b++
	:: break
	od;
	d = b + 1;
	do
	:: d < limit -> d++
	:: break
	od;
	free = (d <= limit);
#ifndef NO_SCAN
	do
	:: i < READERS ->
		free = free && !PINS(seen[i], b, d);
		i++
	:: else -> break
	od;
	i = 0;
#endif
	if
	:: free && death == 0 -> birth = b; death = d
	:: skip
	fi;
	b = 0; d = 0; free = 0
}

/* One transaction after the other, of whatever process. */
proctype Writer() {
	byte limit, b, d, i, seen[READERS];
	bit free;
	do
	:: death == 0 ->
#ifdef SLOTS_FIRST
		scan();
#endif
		limit = txid[word & 1];
#ifndef SLOTS_FIRST
		scan();
#endif
		atomic {
#ifdef DURABLE_TWICE
			limit = txid[word & 1];
#endif
#ifdef HEAD
			limit = LAST;
#endif
			findPage();
			i = 0;
			do
			:: i < READERS -> seen[i] = 0; assert(!NEEDS(reading[i])); i++
			:: else -> break
			od;
			i = 0; limit = 0
		}
	:: break
	od
}

/* A session publishes the snapshot in force once more. */
proctype Leader() {
	bit session;
	byte t;
	do
	:: txid[word & 1] < LAST ->
		if
		:: t = txid[word & 1] + 1
		:: !session -> t = txid[word & 1]
		fi;
		session = 1;
		txid[(word + 1) & 1] = t;
		atomic { word++; t = 0 }
	:: else -> break
	od
}

#ifdef FLOOR
/* The txid that a reader found may be one that is just being published. */
#ifdef NO_LOWERING
#define LOWER 0
#else
#define LOWER (t < slot[0])
#endif
inline enter() {
	atomic {
		sharing++;
		if
		:: sharing == 1 || LOWER -> slot[0] = t
		:: else
		fi
	}
}

inline leave() {
	sharing--;
	if
	:: sharing == 0 -> slot[0] = 0
	:: else
	fi
}
#else
inline enter() { slot[me] = t }
inline leave() { slot[me] = 0 }
#endif

/* It begins and ends transactions, and dies, as often as may be. */
proctype Reader(byte me) {
	byte w, t;
#ifndef FLOOR
join:	atomic { !locked[me] -> locked[me] = 1 }
	slot[me] = 0; /* what a dead predecessor left */
#endif
end:	do
	:: w = word;
look:		t = txid[w & 1];
		enter();
		atomic {
#ifndef NO_SECOND_LOOK
			if
			:: word != w ->
#ifdef FLOOR
				leave();
#endif
				w = word;
				goto look
			:: else
			fi;
#endif
			reading[me] = t;
			assert(!NEEDS(t));
			w = 0; t = 0
		}
#ifdef CLEAR_EARLY
		slot[me] = 0;
#endif
		if
		:: reading[me] = 0; atomic { leave() }
#ifndef FLOOR
		:: atomic { reading[me] = 0; locked[me] = 0; goto join }
#endif
		fi
	od
}

init {
	atomic {
		byte i;
		txid[0] = FIRST;
#ifdef FLOOR
		locked[0] = 1;
#endif
		run Writer();
		run Leader();
		do
		:: i < READERS -> run Reader(i); i++
		:: else -> break
		od;
		i = 0
	}
}
