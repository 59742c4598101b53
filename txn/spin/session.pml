/*
 * Commits, sessions and recovery against deaths and power cuts.
 *
 * A state of the store is two pages, named by its meta page. A transaction stores
 * one or both of them anew, in places that the reuse rule allows. Writers take
 * turns under the writer mutex, so that one process plays them all; it may die
 * after each step, everybody may die, and the power may be cut. A store changes the
 * page cache; the disk gets it in a flush, or at any time before, or not at all. A
 * meta page may be torn on its way, and then its checksum fails.
 *
 * What must hold:
 *   - Open finds a valid meta page of the last state that was published or of the
 *     commit in flight, and both pages are that state's. What was published may
 *     have been read or acknowledged, so neither is ever taken back.
 *   - No page is stored over that a reader's snapshot has.
 *   - A txid is handed out once.
 *   - After damage to the newest meta page the other one's state is whole. (That it
 *     is an older state is then not to be helped.)
 *
 * Runs:
 *   holds -: deaths, power cuts, clean ends
 *   holds TXS=2 ENDS=3: fewer transactions, more ends
 *   holds DAMAGE TXS=2 ENDS=3: and the newest meta page may be damaged
 *   holds FAIL TXS=2: and flushes may fail, unseen by those who open later
 *   holds KEEP_SLOT TXS=2 ENDS=3: a clean mark is not stored again, but the session overwrites it first
 *   holds IGNORE_OTHER TXS=2 ENDS=3: without damage nobody needs what was dead at the base
 *   breaks IGNORE_OTHER DAMAGE: with damage the other slot is what is left
 *   breaks IGNORE_READERS: pages are reused although a reader needs them
 *   breaks NO_SESSION: the next writer goes on where a dead one may have stored a meta page
 *   breaks NO_SESSION_AT_OPEN: the first writer begins without a meta page of its epoch
 *   breaks DURABLE_SLOT: a meta page is stored in the slot that is durable's
 *   breaks PUBLISH_EARLY: the record moves before the meta page is flushed
 *   breaks ONE_FLUSH: pages and meta page are flushed together
 *   breaks OPEN_TRUSTS: open believes what the page cache says
 *   breaks TRUST_CLEAN TXS=2 ENDS=3: open believes the page cache if it says that the store was closed
 *   breaks OPEN_REWRITES: open stores the meta page again with a change
 *   breaks OPEN_ONLY_FLUSHES FAIL TXS=1: open flushes, but a failed flush has left nothing to write
 */
#ifndef PLACES
#define PLACES 5
#endif
#ifndef TXS
#define TXS 3 /* transactions */
#endif
#ifndef ENDS
#define ENDS 2 /* deaths of one or all, power cuts, clean ends */
#endif

#define EPOCH 8  /* txid = epoch * EPOCH + counter */
#define LIVE 255 /* death of a page that the published state has */

/* A page is known by the txid that stored it. */
byte cache[PLACES], disk[PLACES];
bit dirty[PLACES];

typedef Meta {
	bit valid;
	byte sequence, epoch, txid, next; /* next counter; 0 = not closed cleanly */
	byte place[2], born[2]            /* of the two pages */
}
Meta cached[2], stored[2];
bit unflushed[2];

/* The shared area. */
Meta durable;
byte slot;  /* of durable's meta page */
byte other; /* txid of the state in the other slot */
byte epoch, counter;
bit opened, session, abandoned, poison;
byte death[PLACES]; /* the free tree: 0 = free. It belongs to durable. */

/* A reader: the txid of its snapshot, 0 = none. */
byte reader, readerPlace[2];

/* What the properties speak of. */
byte shown = 1, inFlight, greatest = 1;
bit damaged;

byte txs = TXS, ends = ENDS;

/* The writer. */
Meta new;
byte at, side, p, s;

inline copy(to, from) {
	to.valid = from.valid; to.sequence = from.sequence; to.epoch = from.epoch;
	to.txid = from.txid; to.next = from.next;
	to.place[0] = from.place[0]; to.place[1] = from.place[1];
	to.born[0] = from.born[0]; to.born[1] = from.born[1]
}

inline wipe(m) {
	m.valid = 0; m.sequence = 0; m.epoch = 0; m.txid = 0; m.next = 0;
	m.place[0] = 0; m.place[1] = 0; m.born[0] = 0; m.born[1] = 0
}

#define SAME(a, b) (a.valid == b.valid && a.sequence == b.sequence && a.txid == b.txid && \
	a.epoch == b.epoch && a.next == b.next)

inline forgetWriter() {
	wipe(new); at = 0; side = 0; p = 0; s = 0
}

/* ---- the disk ---- */

/* What is stored twice before a flush may be on disk as it was first. */
inline storePage() {
	if
	:: dirty[at] -> disk[at] = cache[at]
	:: skip
	fi;
	cache[at] = new.txid;
	dirty[at] = 1
}

/* A process may die half-way through storing a meta page. */
inline tearMeta() {
	if
	:: unflushed[s] && cached[s].valid -> copy(stored[s], cached[s])
	:: skip
	fi;
	wipe(cached[s]);
	unflushed[s] = 1
}

inline fillMeta() {
	copy(cached[s], new)
}

inline flush() {
	if
	:: d_step {
		for (p : 0 .. PLACES-1) {
			if
			:: dirty[p] -> disk[p] = cache[p]; dirty[p] = 0
			:: else
			fi
		}
		for (p : 0 .. 1) {
			if
			:: unflushed[p] -> copy(stored[p], cached[p]); unflushed[p] = 0
			:: else
			fi
		}
		p = 0
	}
#ifdef FAIL
	/* The system takes what it could not write for written. */
	:: partly(1); goto failed
#endif
	fi
}

/* Some of what is not flushed is on disk. */
inline partly(torn) {
	p = 0;
	do
	:: p < PLACES && dirty[p] ->
		if
		:: disk[p] = cache[p]
		:: skip
		fi;
		dirty[p] = 0; p++
	:: p < PLACES && !dirty[p] -> p++
	:: p == PLACES -> break
	od;
	p = 0;
	do
	:: p < 2 && unflushed[p] ->
		if
		:: copy(stored[p], cached[p])
		:: !SAME(stored[p], cached[p]) -> wipe(stored[p])
		:: skip
		fi;
		unflushed[p] = 0; p++
	:: p < 2 && !unflushed[p] -> p++
	:: p == 2 -> break
	od;
	p = 0
}

/* The page cache as it is read from the disk. What is dirty must have been settled. */
inline reread() {
	d_step {
		for (p : 0 .. PLACES-1) { cache[p] = disk[p] }
		p = 0;
		copy(cached[0], stored[0]); copy(cached[1], stored[1])
	}
}

/* What a failed flush left behind may be read from the disk again at any time. */
inline evict() {
	p = 0;
	do
	:: p < PLACES && !dirty[p] ->
		if
		:: cache[p] = disk[p]
		:: skip
		fi;
		p++
	:: p < PLACES && dirty[p] -> p++
	:: p == PLACES -> break
	od;
	p = 0;
	do
	:: p < 2 && !unflushed[p] ->
		if
		:: copy(cached[p], stored[p])
		:: skip
		fi;
		p++
	:: p < 2 && unflushed[p] -> p++
	:: p == 2 -> break
	od;
	p = 0
}

/* ---- what may happen between two steps ---- */

inline allMayDie() {
	if
	:: skip
	:: ends > 0 -> ends--; goto allDead
	:: ends > 0 -> ends--; goto powerCut
	fi
}

inline mayDie() {
	if
	:: skip
	:: ends > 0 -> ends--; goto dead
	:: ends > 0 -> ends--; goto allDead
	:: ends > 0 -> ends--; goto powerCut
	fi
}

/* ---- the protocol ---- */

inline chooseSlot() {
#ifdef DURABLE_SLOT
	s = slot
#else
	s = 1 - slot
#endif
}

inline publish() {
	other = durable.txid;
	copy(durable, new);
	slot = s;
	shown = new.txid; inFlight = 0
}

/* A place whose page nobody needs any more. */
#ifdef IGNORE_OTHER
#define LIMIT durable.txid
#else
#define LIMIT other
#endif
#ifdef IGNORE_READERS
#define READ(x) 0
#else
#define READ(x) (reader != 0 && cache[x] <= reader && reader < death[x])
#endif
#define REUSABLE(x) (death[x] == 0 || (death[x] <= LIMIT && !READ(x)))

inline storeChild() {
	at = 0;
	do
	:: at < PLACES && REUSABLE(at) && !(new.place[1 - side] == at) -> break
	:: at < PLACES -> at++
	:: at == PLACES -> goto rollback
	od;
	assert(reader == 0 || (readerPlace[0] != at && readerPlace[1] != at));
	storePage();
	new.place[side] = at; new.born[side] = new.txid;
	at = 0
}

active proctype Writer() {
	d_step {
		for (s : 0 .. 1) {
			stored[s].valid = 1; stored[s].sequence = 1 + s; stored[s].epoch = 0;
			stored[s].txid = 1; stored[s].next = 2;
			stored[s].place[0] = 0; stored[s].place[1] = 1;
			stored[s].born[0] = 1; stored[s].born[1] = 1
		}
		s = 0;
		disk[0] = 1; disk[1] = 1
	}
	reread();

open:	atomic {
		if
		:: cached[1].valid && (!cached[0].valid || cached[1].sequence > cached[0].sequence) -> s = 1
		:: else -> s = 0
		fi;
		assert(cached[s].valid);
		assert(damaged || cached[s].txid == shown || cached[s].txid == inFlight);
		assert(cache[cached[s].place[0]] == cached[s].born[0]);
		assert(cache[cached[s].place[1]] == cached[s].born[1]);
		copy(new, cached[s]);
		/* Equal bytes: a torn one is whole where the disk has it already. */
#ifdef OPEN_TRUSTS
		goto fill;
#endif
#if defined(TRUST_CLEAN) || defined(KEEP_SLOT)
		if
		:: new.next != 0 -> goto fill
		:: else
		fi;
#endif
#ifdef OPEN_REWRITES
		cached[s].epoch++;
#endif
#ifndef OPEN_ONLY_FLUSHES
		unflushed[s] = 1;
#endif
	}
	atomic { allMayDie(); flush() }
fill:	atomic {
		allMayDie();
		if
		:: new.next != 0 -> epoch = new.epoch; counter = new.next
		:: else ->
			epoch = new.epoch;
			if
			:: cached[1-s].valid && cached[1-s].epoch > epoch -> epoch = cached[1-s].epoch
			:: else
			fi;
			epoch++;
			counter = 1
		fi;
#ifdef KEEP_SLOT
		/* The state that was closed is in the other slot too, and is on disk there. */
		if
		:: new.next != 0 && cached[1-s].valid && cached[1-s].txid == new.txid -> s = 1 - s
		:: else
		fi;
#endif
		copy(durable, new);
		slot = s;
		shown = durable.txid; damaged = 0;
#ifndef FAIL
		/* After a failed flush at open its meta page may still come to light. */
		inFlight = 0;
#endif
		for (p : 0 .. PLACES-1) {
			if
			:: p == durable.place[0] || p == durable.place[1] -> death[p] = LIVE
			:: else -> death[p] = 0
			fi
		}
		forgetWriter();
#ifdef NO_SESSION_AT_OPEN
		session = 1; other = durable.txid;
#endif
		opened = 1
	}

idle:	do
	:: atomic { txs > 0 && !poison ->
		if
		:: abandoned ->
#ifndef NO_SESSION
			session = 0
#endif
		:: else
		fi;
		abandoned = 0;
		goto begin
	}
	:: atomic { session && !poison && reader == 0 && ends > 0 -> ends--; goto finish }
	:: atomic { ends > 0 -> ends--; goto allDead }
	:: atomic { ends > 0 -> ends--; goto powerCut }
	:: atomic { ends == 0 && (txs == 0 || poison) -> goto end }
	od;

begin:	if
	:: session -> goto build
	:: else
	fi;
	atomic { chooseSlot(); tearMeta() }
	atomic {
		mayDie();
		copy(new, durable);
		new.sequence++; new.epoch = epoch; new.next = 0;
		fillMeta()
	}
	atomic { mayDie(); flush() }
	atomic { mayDie(); publish(); session = 1 }

build:	atomic {
		mayDie();
		txs--;
		copy(new, durable);
		new.txid = epoch * EPOCH + counter; counter++;
		new.sequence++; new.epoch = epoch; new.next = 0;
		assert(new.txid > greatest); greatest = new.txid;
		if
		:: side = 0; storeChild()
		:: side = 1; storeChild()
		:: side = 0; storeChild(); side = 1; storeChild()
		fi;
		side = 0
	}
#ifndef ONE_FLUSH
	atomic { mayDie(); flush() }
#endif
	atomic { mayDie(); inFlight = new.txid; chooseSlot(); tearMeta() }
	atomic { mayDie(); fillMeta() }
#ifndef PUBLISH_EARLY
	atomic { mayDie(); flush() }
#endif
	atomic {
		mayDie();
		for (p : 0 .. PLACES-1) {
			if
			:: p == new.place[0] || p == new.place[1] -> death[p] = LIVE
			:: death[p] == LIVE && p != new.place[0] && p != new.place[1] -> death[p] = new.txid
			:: else
			fi
		}
		p = 0;
		publish()
	}
#ifdef PUBLISH_EARLY
	atomic { mayDie(); flush() }
#endif
	atomic { mayDie(); forgetWriter(); goto idle }

rollback:
	atomic { mayDie(); forgetWriter(); goto idle }

dead:	atomic { abandoned = 1; forgetWriter(); goto idle }

failed:	atomic {
		if
		:: !opened -> goto allDead
		:: else
		fi;
		mayDie(); poison = 1; forgetWriter(); goto idle
	}

	/* The last one to close the store. */
finish:	atomic { chooseSlot(); tearMeta() }
	atomic {
		allMayDie();
		copy(new, durable);
		new.sequence++; new.epoch = epoch; new.next = counter;
		fillMeta()
	}
	atomic { allMayDie(); flush() }
	goto allDead;

powerCut:
	atomic {
		partly(1);
		reread();
#ifdef DAMAGE
		if
		:: stored[0].valid && stored[1].valid && !damaged ->
			s = (stored[1].sequence > stored[0].sequence -> 1 : 0);
			wipe(stored[s]); wipe(cached[s]);
			damaged = 1; greatest = 0
		:: skip
		fi;
#endif
	}
allDead:
	atomic {
#ifdef FAIL
		evict();
#endif
		wipe(durable); slot = 0; other = 0; epoch = 0; counter = 0;
		opened = 0; session = 0; abandoned = 0; poison = 0;
		for (p : 0 .. PLACES-1) { death[p] = 0 }
		forgetWriter();
		reader = 0; readerPlace[0] = 0; readerPlace[1] = 0;
		goto open
	}
end:	skip
}

active proctype Reader() {
end:	do
	:: atomic { opened && reader == 0 ->
		reader = durable.txid;
		readerPlace[0] = durable.place[0]; readerPlace[1] = durable.place[1]
	}
	:: atomic { reader != 0 -> reader = 0; readerPlace[0] = 0; readerPlace[1] = 0 }
	od
}
