/*
 * Reuse of pages where commits return before they are durable, word by word.
 *
 * A snapshot is two pages: a root, which each transaction stores anew, and a leaf,
 * which some do. The writer publishes the head and is done; a leader makes it durable
 * at some later time. There is one of each at a time, and a reader. Writer and leader
 * may die before each step, and others take their places.
 *
 * A page lives in [birth, death). Once for a transaction the writer loads syncing,
 * durable with the snapshot of the other meta page, suspect, and the reader's slot. It
 * may reuse a page that was dead at its base, if none of these snapshots needs it. While
 * suspect is younger than durable, only one that was dead at the other meta page's. What
 * is free stays free.
 *
 * The power may be cut at any time. Of each place, and of the slot that is not
 * durable's, the disk has then what the last flush left there, or anything stored since:
 * a set, all of which is looked at after each step that changes it. A meta page whose
 * data was flushed before is believed. One that is to be verified counts only if all is
 * there that durable does not have; so what it names is whole.
 *
 * What must hold:
 *   - On disk, durable is whole, which a caller of Sync was told of, and so is the
 *     snapshot of a meta page that would be believed.
 *   - So is that of the other meta page, as long as the disk may have it: durable's may
 *     be damaged later. UNDAMAGED leaves this out.
 *   - What is being read is whole, and what a leader walks.
 *
 * Runs:
 *   holds -: four transactions, one death
 *   holds DEATHS=2: two deaths
 *   holds READER LAST=4: and one who reads
 *   holds READER DURABLE_READER LAST=4: who takes durable, as after a flush that failed
 *   holds FAIL: a flush may fail, seen or not
 *   holds UNTIL_DURABLE: while suspect is younger, it is enough to be dead at durable
 *   holds UNDAMAGED NO_OTHER_PIN: the other meta page's snapshot is for damage only
 *   holds NO_BIG IGNORE_SUSPECT: where each meta page is verified, suspect is not needed
 *   holds READER SLOT_FIRST LAST=4: who takes the head needs nothing that was dead at the base
 *   breaks UNDAMAGED DURABLE_FIRST: a leader that has ended and the next one are both missed
 *   breaks SUSPECT_FIRST: a dead leader is not known yet, and what it was at no more
 *   breaks UNDAMAGED NO_SYNCING: the leader does not say what it is at
 *   breaks UNDAMAGED NO_SECOND_LOOK: it does not look at the head again when it has said so
 *   breaks IGNORE_SUSPECT: what a dead leader was at is forgotten
 *   breaks SUSPECT_LATE: its successor sets syncing before suspect
 *   breaks UNDAMAGED NO_DURABLE_PIN: a page is reused that durable needs
 *   breaks NO_OTHER_PIN: or the other meta page's snapshot
 *   breaks READER NO_READER_PIN: or the reader
 *   breaks READER NO_READER_LOOK: the reader does not look at the head's word again
 *   breaks READER DURABLE_READER SLOT_FIRST: the slot is loaded before durable
 *   breaks FAIL SUSPECT_ONCE: suspect is raised above durable, but not to the last txid handed out
 *   breaks FAIL LEAD_ON: one leads although a flush has failed
 */
#ifndef LAST
#define LAST 5 /* txid of the last transaction, at most 7 */
#endif
#ifndef PLACES
#define PLACES 6 /* at most what choose knows */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#ifdef FAIL
#define FAILS 1 /* flushes */
#else
#define FAILS 0
#endif

#define FIRST 1
#define LIVE 255    /* death of a page that the head has */
#define NOWHERE 255

/* The shared area. */
byte head = FIRST, durable = FIRST, other = FIRST;
byte syncing, suspect, next = FIRST;
byte slot;                           /* of the reader; 0 = it does not read */
bit poison;
bit writing, leading;                /* the mutexes */
bit writerAbandoned, syncAbandoned;

/* Of each snapshot: where its pages are, and who stored the leaf. */
byte root[LAST + 1], leaf[LAST + 1], born[LAST + 1];

/* The free-space tree, which belongs to the head. Death 0 = free. */
byte birth[PLACES], death[PLACES];

/* Who stored what is in a place; on disk it may be any of a set. A flush writes what
 * is dirty. */
byte cache[PLACES], disk[PLACES];
bit dirty[PLACES];

/* The slot that is not durable's: the txid of a meta page that is believed, or one of
 * these. On disk it may be any of a set, in which those to be verified do not count. */
#define OLDER 0      /* the other meta page */
#define VERIFIED 255
byte cached = OLDER, stored = 1 << OLDER;
bit metaDirty;

byte reading; /* what the reader reads */

#define WRITER 1
#define LEADER 2
byte deaths = DEATHS, dying, fails = FAILS;

byte i;

/* ---- the disk ---- */

#define WHOLE(s) (cache[root[s]] == (s) && cache[leaf[s]] == born[s])
#define ON_DISK(s) (disk[root[s]] == 1 << (s) && disk[leaf[s]] == 1 << born[s])

inline check() {
	assert(reading == 0 || WHOLE(reading));
	assert(ON_DISK(durable));
#ifndef UNDAMAGED
	assert(!(stored & 1 << OLDER) || ON_DISK(other));
#endif
	for (i : FIRST .. LAST) { assert(!(stored & 1 << i) || ON_DISK(i)) }
	i = 0
}

inline storePage(x) {
	d_step {
		cache[x] = next;
		disk[x] = disk[x] | 1 << next;
		dirty[x] = 1;
		check()
	}
}

inline storeMeta(content) {
	d_step {
		cached = content;
		stored = stored | (cached == VERIFIED -> 0 : 1 << cached);
		metaDirty = 1;
		check()
	}
}

/* If it fails it has written some of it, and the system takes all for written: the
 * sets stay, and nothing is dirty. */
inline flush(ok) {
	d_step {
		for (i : 0 .. PLACES-1) {
			if
			:: ok && dirty[i] -> disk[i] = 1 << cache[i]
			:: else
			fi;
			dirty[i] = 0
		}
		if
		:: ok && metaDirty -> stored = (cached == VERIFIED -> 0 : 1 << cached)
		:: else
		fi;
		metaDirty = 0;
		check()
	}
}

/* ---- the writer ---- */

#define NEEDS(s, x) (birth[x] <= s && s < death[x])
#define PINS(x) (NEEDS(aimed, x) || NEEDS(now, x) || NEEDS(older, x) || NEEDS(read, x))

#define FREE(x) (death[x] == 0 || death[x] <= until && !PINS(x))

/* Places that nobody has ever used are all alike. */
#define USABLE(x) (FREE(x) && x != place && (x == 0 || cache[x] != 0 || cache[x - 1] != 0))

inline choose(to) {
	if
	:: USABLE(0) -> to = 0
	:: USABLE(1) -> to = 1
	:: USABLE(2) -> to = 2
	:: USABLE(3) -> to = 3
#if PLACES > 4
	:: USABLE(4) -> to = 4
#endif
#if PLACES > 5
	:: USABLE(5) -> to = 5
#endif
#if PLACES > 6
	:: USABLE(6) -> to = 6
#endif
	:: else -> to = NOWHERE
	fi
}

/* Who finds a mutex abandoned makes sure that suspect is at least n. */
#ifdef SUSPECT_ONCE
#define LEAST(n) durable + 1
#else
#define LEAST(n) n
#endif
inline raise(n) {
	atomic { suspect = (suspect < LEAST(n) -> LEAST(n) : suspect) }
}

inline loadDurable() {
	atomic { now = durable; older = other } /* record.pml takes it apart */
}

#ifdef IGNORE_SUSPECT
#define UNTIL head
#else
#ifdef UNTIL_DURABLE
#define UNTIL (suspected <= now -> head : now)
#else
#define UNTIL (suspected <= now -> head : older)
#endif
#endif

inline begin() {
	atomic {
		if
		:: writerAbandoned -> writerAbandoned = 0; raise(next)
		:: else
		fi
	}
#ifdef SUSPECT_FIRST
	suspected = suspect;
#endif
#ifdef SLOT_FIRST
	read = slot;
#endif
#ifdef DURABLE_FIRST
	loadDurable();
	aimed = syncing;
#else
	aimed = syncing;
	loadDurable();
#endif
#ifndef SUSPECT_FIRST
	suspected = suspect;
#endif
	atomic {
#ifndef SLOT_FIRST
		read = slot;
#endif
		until = UNTIL;
		suspected = 0;
#ifdef NO_DURABLE_PIN
		now = 0;
#endif
#ifdef NO_OTHER_PIN
		older = 0;
#endif
#ifdef NO_READER_PIN
		read = 0;
#endif
		choose(place);
		if
		:: place != NOWHERE ->
			next++;
			if
			:: choose(leafPlace)
			:: skip
			fi
		:: else
		fi
	}
}

inline publish() {
	d_step {
		for (i : 0 .. PLACES-1) {
			if
			:: FREE(i) -> birth[i] = 0; death[i] = 0
			:: else
			fi
		}
		i = 0;
		root[next] = place; leaf[next] = leaf[head]; born[next] = born[head];
		death[root[head]] = next;
		birth[place] = next; death[place] = LIVE;
		if
		:: leafPlace != NOWHERE ->
			leaf[next] = leafPlace; born[next] = next;
			death[leaf[head]] = next;
			birth[leafPlace] = next; death[leafPlace] = LIVE
		:: else
		fi;
		head = next
	}
}

inline forgetWriter() {
	writing = 0;
	aimed = 0; now = 0; older = 0; suspected = 0; until = 0; read = 0;
	place = NOWHERE; leafPlace = NOWHERE
}

inline write() {
	begin();
	if
	:: place != NOWHERE ->
		if
		:: leafPlace != NOWHERE -> storePage(leafPlace)
		:: else
		fi;
		storePage(place);
		publish()
	:: else
	fi;
	d_step { forgetWriter() }
}

proctype Writer() {
	byte aimed, now, older, suspected, until, read;
	byte place = NOWHERE, leafPlace = NOWHERE;
end:	do
	:: atomic { next < LAST && !poison -> writing = 1 }
		{ write() } unless { d_step { dying == WRITER -> dying = 0; forgetWriter(); writerAbandoned = 1 } }
	od
}

/* ---- the leader ---- */

inline flushOrFail() {
	if
	:: flush(1)
#ifdef FAIL
	:: d_step { fails > 0 -> fails-- }
		flush(0);
		poison = 1;
		goto done
#endif
	fi
}

#ifdef LEAD_ON
#define BLOCKED 0
#else
#define BLOCKED poison
#endif

inline lead() {
	if
	:: d_step { syncAbandoned -> syncAbandoned = 0; last = next }
#ifndef SUSPECT_LATE
		raise(last); last = 0
#endif
	:: else
	fi;
	target = head;
	do
	:: true;
#ifndef NO_SYNCING
		syncing = target;
#endif
		if
		:: target == head -> break
#ifdef NO_SECOND_LOOK
		:: else -> break
#else
		:: else -> target = head
#endif
		fi
	od;
#ifdef SUSPECT_LATE
	raise(last); last = 0;
#endif
	atomic {
		assert(WHOLE(target));
		if
		:: suspect > durable ->
			dirty[root[target]] = 1;
			if
			:: born[target] > durable -> dirty[leaf[target]] = 1
			:: else
			fi
		:: else
		fi
	}
	if
	:: storeMeta(VERIFIED)
#ifndef NO_BIG
	:: flushOrFail(); storeMeta(target)
#endif
	fi;
	flushOrFail();
	d_step {
		other = durable; durable = target;
		cached = OLDER; stored = 1 << OLDER;
		check()
	}
done:	atomic { forgetLeader() }
}

inline forgetLeader() {
	leading = 0; last = 0; target = 0
}

proctype Leader() {
	byte target, last;
end:	do
	:: atomic { head != durable && !BLOCKED -> leading = 1 }
		{ lead() } unless { d_step { dying == LEADER -> dying = 0; forgetLeader(); syncAbandoned = 1 } }
	od
}

/* ---- the reader ---- */

#ifdef DURABLE_READER
#define SHOWN durable
#else
#define SHOWN (lost -> durable : head)
#endif

proctype Reader() {
	byte t;
	bit lost;
end:	do
	:: lost = poison;
		t = SHOWN;
look:		slot = t;
		atomic {
#ifndef NO_READER_LOOK
			if
			:: t != SHOWN -> t = SHOWN; goto look
			:: else
			fi;
#endif
			reading = t;
			t = 0; lost = 0;
			check()
		}
		reading = 0;
		slot = 0
	od
}

/* ---- fate ---- */

proctype Fate() {
end:	do
	:: atomic { writing && deaths > 0 && !dying -> deaths--; dying = WRITER }
	:: atomic { leading && deaths > 0 && !dying -> deaths--; dying = LEADER }
	od
}

init {
	d_step {
		root[FIRST] = 0; leaf[FIRST] = 1; born[FIRST] = FIRST;
		for (i : 0 .. 1) {
			cache[i] = FIRST; disk[i] = 1 << FIRST;
			birth[i] = FIRST; death[i] = LIVE
		}
		for (i : 2 .. PLACES-1) { disk[i] = 1 }
		i = 0
	}
	atomic {
		run Writer(); run Leader(); run Fate();
#ifdef READER
		run Reader()
#endif
	}
}
