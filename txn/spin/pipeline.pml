/*
 * Commits from the writer to the disk, against deaths, power cuts, failing flushes
 * and clean ends.
 *
 * A state of the store is two pages, named by a record or by a meta page; they stand
 * for all that a tree has. A transaction stores one or both of them anew, in places
 * that the reuse rule allows, and publishes the head. Whoever waits for a commit may
 * lead: it sums up what changed since durable, stores a meta page, flushes once and
 * moves durable. One writer and one leader are at work at a time, of the same process
 * or of two. Either process may die before each step, and another takes its place;
 * all may die, and the power may be cut. Readers take durable.
 *
 * A store changes the page cache. The disk gets it in a flush, or at any time before,
 * or not at all. A meta page that was being stored may be torn: its checksum fails.
 * A flush that fails leaves some of it undone, and the page cache takes all for done,
 * until it reads it anew. It is told to each handle that was open then, once.
 *
 * What must hold:
 *   - Open finds the state that was durable last or one published later, and both
 *     pages are that state's. What was durable may have been read or acknowledged.
 *   - Nothing is stored over that head, durable, the leader or a reader can reach.
 *   - The leader finds what the writers have stored.
 *   - A txid is handed out once.
 *   - After damage to the newest meta page the other one's state is whole. (That it
 *     is an older state is then not to be helped.)
 *
 * Runs:
 *   holds TXS=3: three transactions, so that places are reused
 *   holds TXS=3 ENDS=1 READER: and one who reads
 *   holds ENDS=3 BIG: more ends; a leader may flush pages before the meta page
 *   holds DAMAGE TXS=3: the newest meta page may be damaged in a power cut
 *   holds FAIL BIG: a flush may fail, and those of dead processes do so unseen
 *   holds FAIL SPILL EVICT: and what it left undone may be read from the disk at any time
 *   holds REUSE_AT_DURABLE TXS=3: without damage nobody needs what was dead at durable
 *   holds NO_SUM SPILL: txids show what is missing, as long as each stands for one content
 *   holds NO_EPOCH TXID_TWICE: where txids may come again, session and sum suffice
 *   holds FAIL TOLD_CALLER NO_GROWTH: only who flushes is told, and only leaders flush
 *   breaks REUSE_AT_DURABLE DAMAGE TXS=3: with damage the other slot is what is left
 *   breaks REUSE_AT_HEAD: durable needs what is dead at the head only
 *   breaks IGNORE_READERS READER TXS=3: pages are reused although a reader needs them
 *   breaks DURABLE_SLOT: a meta page is stored in the slot that is durable's
 *   breaks MOVE_EARLY: durable moves before the flush
 *   breaks BIG BIG_UNFLUSHED: the meta page says that data was flushed, and it was not
 *   breaks NO_SUM SPILL TWICE_UNFLUSHED: an early version of a page passes for the page
 *   breaks NO_SUM NO_EPOCH TXID_TWICE: a page of another life passes for the page
 *   breaks FAIL SPILL EVICT TWICE_UNFLUSHED: the leader sums up an early version
 *   breaks NO_EPOCH: a txid of a life that a power cut ended comes again
 *   breaks NO_SESSION: no meta page makes the epoch durable
 *   breaks SESSION_UNFLUSHED: it is stored, but not flushed
 *   breaks NO_VERIFY: open believes the newest valid meta page
 *   breaks TRUST_CACHE: open does not flush what it found
 *   breaks OPEN_REWRITES: it stores the meta page again with a change, which may be torn
 *   breaks NO_STORE_AGAIN FAIL: it flushes, but a failed flush has left nothing to write
 *   breaks TRUST_MARK ENDS=3: the mark of a clean end is kept, the other meta page stored over
 *   breaks MARK_ONLY ENDS=3: the last process marks the head without having it synced
 *   breaks CLOSE_TRUSTS FAIL: or syncs it without a doubt of what dead processes flushed
 *   breaks NO_SUSPECT FAIL: a leader does not store again what its dead predecessor may have lost
 *   breaks SUSPECT_ONCE FAIL TOLD_CALLER NO_GROWTH TXS=3: it does so once, but not with what was being built
 *   breaks NO_LOOK FAIL: poison is not looked at after the flush
 *   breaks NO_TURN FAIL: within a process a flush is believed before one that failed is known
 *   breaks FAIL TOLD_CALLER: if writers flush, too, each handle must be told of a failure
 */
#ifndef PLACES
#define PLACES 6
#endif
#ifndef TXS
#define TXS 2 /* transactions */
#endif
#ifndef ENDS
#define ENDS 2 /* deaths of one or all, power cuts, clean ends */
#endif
#ifdef FAIL
#define FAILS 1 /* flushes */
#else
#define FAILS 0
#endif

#define EPOCH 4  /* txid = epoch * EPOCH + counter */
#define LIVE 255 /* death of a page that the head has */

/* Content of a page: of which transaction, and whether it is an early one, that the
 * transaction itself has stored over. Two that have the same txid are told apart by
 * the life of the store in which they began. */
#ifdef NO_EPOCH
#define PAGE(t) ((t) * 8 + (lives % 4) * 2)
#define PUBLISHED(t) ((t) * 8 + life[t] * 2)
#else
#define PUBLISHED(t) PAGE(t)
#define PAGE(t) ((t) * 8)
#endif
#define TXID(v) ((v) / 8)
#define EARLY 1

byte cache[PLACES], disk[PLACES];
bit dirty[PLACES];

typedef Meta {
	byte sequence; /* 0 = not valid */
	byte epoch, txid, base;
	byte next;     /* last counter used; 0 = not the mark of a clean end */
	bit flushed;   /* nothing is to be verified */
	byte place[2], born[2];
	byte sum[2]    /* of the pages that changed since base; 0 = unchanged */
}
Meta cached[2], stored[2];
bit unflushed[2];

typedef Snapshot { byte txid, place[2], born[2] }

/* The shared area. */
Snapshot head, durable;
byte slot, sequence;     /* of durable's meta page */
byte other;              /* txid of the state in the other slot, at most */
byte epoch, next, suspect;
bit session, poison;
bit writerAbandoned, syncAbandoned;
byte birth[PLACES], death[PLACES]; /* the free tree, which belongs to the head: 0 = free */

/* A reader's snapshot; txid 0 = none. */
Snapshot reader;

/* Two processes: what each waits for, and whether its next flush fails because an
 * earlier one of somebody else did. */
byte wait[2];
bit told[2];

/* The writer: 0 = nobody has the mutex. */
#define OPEN_SESSION 1
#define FLUSH_SESSION 2
#define MOVE_SESSION 3
#define START 4
#define BUILD 5
#define FINAL 6
#define FLUSH_TWICE 7
#define PUBLISH 8
#define NOT_GROWN 9
byte writer, wp; /* its step, its process */
Snapshot new;
byte change;  /* of which pages: bits */
bit twice;    /* it has stored into one place twice */

/* The leader: 0 = nobody has the mutex. */
#define WALK 1
#define DATA 2
#define META 3
#define FLUSH 4
#define MOVE 5
#define FAILED 6
byte leader, lp;
Snapshot syncing;
byte sum[2];
bit flushed;

/* Open and close: 0 = open. */
#define LOOK 1
#define FLUSH_FOUND 2
#define FILL 3
byte opening = LOOK, found;
#define LAST_SYNC 1
#define MARK 2
#define FLUSH_MARK 3
byte closing;

/* What the properties speak of. */
byte shown = EPOCH, published = EPOCH, greatest = EPOCH;
bit damaged;

byte txs = TXS, ends = ENDS, fails = FAILS;
#ifdef NO_EPOCH
byte lives, life[32]; /* life[t]: in which t was published */
#endif

byte i, j, c, v;
bit ok;

#define HAS(s, x) (s.txid != 0 && (s.place[0] == (x) || s.place[1] == (x)))

inline copyState(to, from) {
	to.txid = from.txid;
	to.place[0] = from.place[0]; to.place[1] = from.place[1];
	to.born[0] = from.born[0]; to.born[1] = from.born[1]
}

inline wipeState(s) {
	s.txid = 0;
	s.place[0] = 0; s.place[1] = 0; s.born[0] = 0; s.born[1] = 0
}

inline copyMeta(to, from) {
	to.sequence = from.sequence; to.epoch = from.epoch; to.base = from.base;
	to.next = from.next; to.flushed = from.flushed;
	to.sum[0] = from.sum[0]; to.sum[1] = from.sum[1];
	copyState(to, from)
}

inline wipeMeta(m) {
	m.sequence = 0; m.epoch = 0; m.base = 0; m.next = 0; m.flushed = 0;
	m.sum[0] = 0; m.sum[1] = 0;
	wipeState(m)
}

#define SAME(a, b) (a.sequence == b.sequence && a.epoch == b.epoch && a.txid == b.txid && \
	a.base == b.base && a.next == b.next && a.flushed == b.flushed)

inline forgetWriter() {
	writer = 0; wp = 0; change = 0; twice = 0; wipeState(new)
}

inline forgetLeader() {
	leader = 0; lp = 0; flushed = 0; sum[0] = 0; sum[1] = 0; wipeState(syncing)
}

/* ---- the disk ---- */

/* What is stored over before a flush may be on disk. */
inline storePage(x, content) {
	assert(!HAS(head, x) && !HAS(durable, x) && !HAS(syncing, x) && !HAS(reader, x));
	if
	:: dirty[x] && disk[x] != cache[x] -> disk[x] = cache[x]
	:: skip
	fi;
	cache[x] = content;
	dirty[x] = 1
}

/* What is stored into the slot s says state; sets cached[s]. */
inline storeMeta(s, state, isClean) {
	if
	:: unflushed[s] && !SAME(stored[s], cached[s]) -> copyMeta(stored[s], cached[s])
	:: skip
	fi;
	d_step {
		copyState(cached[s], state);
		cached[s].sequence = sequence + 1; cached[s].epoch = epoch; cached[s].base = durable.txid;
		cached[s].next = (isClean -> next + 1 : 0);
		cached[s].flushed = flushed;
		cached[s].sum[0] = sum[0]; cached[s].sum[1] = sum[1];
		unflushed[s] = 1
	}
}

/* Its process dies half-way. */
inline tearMeta(s) {
	if
	:: unflushed[s] && !SAME(stored[s], cached[s]) -> copyMeta(stored[s], cached[s])
	:: skip
	fi;
	wipeMeta(cached[s]);
	unflushed[s] = 1
}

/* Some of what is not flushed is on disk, and the page cache takes all for flushed. */
inline partly() {
	i = 0;
	do
	:: i < PLACES && dirty[i] ->
		if
		:: disk[i] != cache[i] -> disk[i] = cache[i]
		:: skip
		fi;
		dirty[i] = 0; i++
	:: i < PLACES && !dirty[i] -> i++
	:: i == PLACES -> break
	od;
	i = 0;
	do
	:: i < 2 && unflushed[i] ->
		if
		:: SAME(stored[i], cached[i])
		:: !SAME(stored[i], cached[i]) -> copyMeta(stored[i], cached[i])
		:: !SAME(stored[i], cached[i]) -> wipeMeta(stored[i])
		:: !SAME(stored[i], cached[i])
		fi;
		unflushed[i] = 0; i++
	:: i < 2 && !unflushed[i] -> i++
	:: i == 2 -> break
	od;
	i = 0
}

/* Sets ok. */
inline flush(p) {
	if
	:: d_step {
		for (i : 0 .. PLACES-1) {
			if
			:: dirty[i] -> disk[i] = cache[i]; dirty[i] = 0
			:: else
			fi
		}
		for (i : 0 .. 1) {
			if
			:: unflushed[i] -> copyMeta(stored[i], cached[i]); unflushed[i] = 0
			:: else
			fi
		}
		i = 0;
		ok = !told[p]; told[p] = 0
	}
#ifdef FAIL
	:: fails > 0 -> fails--; partly(); told[p] = 0; ok = 0
#ifndef TOLD_CALLER
		; told[1 - p] = !opening && !closing
#endif
#endif
	fi
}

/* The page cache as it is read from the disk. What is dirty must have been settled. */
inline reread() {
	d_step {
		for (i : 0 .. PLACES-1) { cache[i] = disk[i] }
		i = 0;
		copyMeta(cached[0], stored[0]); copyMeta(cached[1], stored[1])
	}
}

/* What a failed flush left behind may be read from the disk again. */
inline evict() {
	i = 0;
	do
	:: i < PLACES && !dirty[i] && cache[i] != disk[i] ->
		if
		:: cache[i] = disk[i]
		:: skip
		fi;
		i++
	:: i < PLACES && (dirty[i] || cache[i] == disk[i]) -> i++
	:: i == PLACES -> break
	od;
	i = 0;
	do
	:: i < 2 && !unflushed[i] && !SAME(cached[i], stored[i]) ->
		if
		:: copyMeta(cached[i], stored[i])
		:: skip
		fi;
		i++
	:: i < 2 && (unflushed[i] || SAME(cached[i], stored[i])) -> i++
	:: i == 2 -> break
	od;
	i = 0
}

/* ---- deaths ---- */

inline die(p) {
	d_step {
		if
		:: writer && wp == p -> writerAbandoned = 1; forgetWriter()
		:: else
		fi;
		if
		:: leader && lp == p -> syncAbandoned = 1; forgetLeader()
		:: else
		fi;
		wait[p] = 0; told[p] = 0
	}
}

/* The area goes with the last process. */
inline allDie() {
	d_step {
		forgetWriter(); forgetLeader();
		wipeState(head); wipeState(durable); wipeState(reader);
		slot = 0; sequence = 0; other = 0; epoch = 0; next = 0; suspect = 0;
		session = 0; poison = 0; writerAbandoned = 0; syncAbandoned = 0;
		for (i : 0 .. PLACES-1) { birth[i] = 0; death[i] = 0 }
		i = 0;
		wait[0] = 0; wait[1] = 0; told[0] = 0; told[1] = 0;
		opening = LOOK; found = 0; closing = 0
	}
}

/* ---- the protocol ---- */

#ifdef DURABLE_SLOT
#define SLOT slot
#else
#define SLOT (1 - slot)
#endif

inline suspectAll(abandoned) {
	if
	:: abandoned ->
		abandoned = 0;
#ifdef SUSPECT_ONCE
		suspect = durable.txid + 1
#else
#ifndef NO_SUSPECT
		suspect = epoch * EPOCH + next
#endif
#endif
	:: else
	fi
}

inline moveDurable(state) {
	other = durable.txid;
	copyState(durable, state);
	slot = SLOT; sequence++;
	shown = durable.txid
}

#ifdef REUSE_AT_HEAD
#define LIMIT head.txid
#else
#ifdef REUSE_AT_DURABLE
#define LIMIT durable.txid
#else
#define LIMIT other
#endif
#endif
#ifdef IGNORE_READERS
#define READ(x) 0
#else
#define READ(x) (reader.txid != 0 && birth[x] <= reader.txid && reader.txid < death[x])
#endif
#define REUSABLE(x) (death[x] == 0 || (death[x] <= LIMIT && !READ(x)))

/* The txid, and places for the pages to be changed: the lowest ones, so that much is
 * reused. Sets ok. */
inline start() {
	d_step {
		next++;
		copyState(new, head);
		new.txid = epoch * EPOCH + next;
		assert(next < EPOCH);
#ifndef TXID_TWICE
		assert(new.txid > greatest);
#endif
		greatest = new.txid;
		j = 0; ok = 1;
		for (c : 0 .. 1) {
			if
			:: change & (1 << c) ->
				do
				:: j < PLACES && !REUSABLE(j) -> j++
				:: else -> break
				od;
				if
				:: j < PLACES -> new.place[c] = j; new.born[c] = new.txid; j++
				:: else -> ok = 0
				fi
			:: else
			fi
		}
		c = 0; j = 0
	}
}

/* The head as the page cache has it. Sets ok and sum. */
inline walk() {
	d_step {
		copyState(syncing, head);
		ok = 1;
		for (c : 0 .. 1) {
			if
			:: head.born[c] > durable.txid ->
				v = cache[head.place[c]];
				if
				:: TXID(v) != head.born[c] -> ok = 0
				:: else ->
					sum[c] = v;
					if
					:: suspect > durable.txid -> dirty[head.place[c]] = 1
					:: else
					fi
				fi
			:: else
			fi
		}
		c = 0; v = 0
	}
#ifndef EVICT
	assert(ok)
#endif
}

/* Whether all is there that was stored with the meta page. Sets ok. */
inline verify(m) {
	ok = 1;
	for (c : 0 .. 1) {
		if
		:: m.born[c] > m.base && !m.flushed ->
#ifdef NO_SUM
			ok = ok && TXID(cache[m.place[c]]) == m.born[c]
#else
			ok = ok && TXID(cache[m.place[c]]) == m.born[c] && cache[m.place[c]] == m.sum[c]
#endif
		:: else
		fi
	}
	c = 0
#ifdef NO_VERIFY
	; ok = 1
#endif
}

inline recover() {
	d_step {
		found = (cached[0].sequence == 0 || cached[1].sequence > cached[0].sequence -> 1 : 0);
		assert(cached[found].sequence != 0);
		epoch = (cached[0].epoch > cached[1].epoch -> cached[0].epoch : cached[1].epoch);
		if
		:: cached[found].next != 0 -> next = cached[found].next - 1
		:: else ->
#ifdef NO_EPOCH
			next = 0 /* set from the state found */
#else
			epoch++; next = 0
#endif
		fi;
		verify(cached[found]);
		v = 0;
		if
		:: cached[found].next != 0 && cached[1 - found].sequence != 0 && cached[1 - found].txid == cached[found].txid ->
#ifndef TRUST_MARK
			found = 1 - found;
#endif
			opening = FILL
		:: else ->
			if
			:: ok -> v = !cached[found].flushed
			:: else -> assert(cached[1 - found].sequence != 0); found = 1 - found
			fi;
			opening = FLUSH_FOUND
		fi;
		assert(damaged || (shown <= cached[found].txid && cached[found].txid <= published));
		for (c : 0 .. 1) {
			assert(cache[cached[found].place[c]] == PUBLISHED(cached[found].born[c]))
		}
#ifdef NO_EPOCH
		if
		:: cached[found].next == 0 -> next = cached[found].txid % EPOCH
		:: else
		fi;
#endif
#ifdef TRUST_CACHE
		opening = FILL;
#else
#ifndef NO_STORE_AGAIN
		/* Equal bytes: what is torn is whole where the disk has it already. */
		for (c : 0 .. 1) {
			if
			:: opening == FLUSH_FOUND && v && cached[found].born[c] > cached[found].base -> dirty[cached[found].place[c]] = 1
			:: else
			fi
		}
		if
		:: opening == FLUSH_FOUND ->
			unflushed[found] = 1;
#ifdef OPEN_REWRITES
			cached[found].epoch++
#endif
		:: else
		fi;
#endif
#endif
		c = 0; v = 0
	}
}

inline fill() {
	d_step {
		copyState(durable, cached[found]); copyState(head, durable);
		slot = found;
		sequence = (cached[1 - found].next != 0 && cached[1 - found].sequence > cached[found].sequence ->
			cached[1 - found].sequence : cached[found].sequence);
		shown = durable.txid; damaged = 0;
#ifndef FAIL
		published = durable.txid; /* see openSession */
#endif
		for (i : 0 .. PLACES-1) {
			if
			:: HAS(durable, i) -> death[i] = LIVE
			:: else
			fi
		}
		i = 0;
		birth[durable.place[0]] = durable.born[0];
		birth[durable.place[1]] = durable.born[1];
		found = 0; opening = 0
#ifdef NO_EPOCH
		; lives++
#endif
#ifdef NO_SESSION
		; session = 1; other = durable.txid; published = durable.txid
#endif
	}
}

inline publish() {
	d_step {
		for (c : 0 .. 1) {
			if
			:: change & (1 << c) ->
				death[head.place[c]] = new.txid;
				birth[new.place[c]] = new.txid; death[new.place[c]] = LIVE
			:: else
			fi
		}
		c = 0;
		copyState(head, new);
#ifdef NO_EPOCH
		life[head.txid] = lives % 4;
#endif
		published = head.txid;
		wait[wp] = head.txid;
		forgetWriter()
	}
}

inline rollback() {
	d_step { wait[wp] = head.txid; forgetWriter() }
}

/* Within a process flushes take turns, with what has to be done when one fails. */
#ifdef NO_TURN
#define TURN(p) 1
#else
#define TURN(p) !(writer == NOT_GROWN && wp == (p)) && !(leader == FAILED && lp == (p))
#endif
#ifdef NO_LOOK
#define FLUSHED ok
#else
#define FLUSHED (ok && !poison)
#endif

#define UP (!opening && !closing)

init {
	d_step {
		for (i : 0 .. 1) {
			stored[i].sequence = 1 + i; stored[i].epoch = 1; stored[i].next = 1;
			stored[i].txid = EPOCH; stored[i].base = EPOCH;
			stored[i].place[1] = 1;
			stored[i].born[0] = EPOCH; stored[i].born[1] = EPOCH;
			disk[i] = EPOCH * 8
		}
		i = 0
	}
	reread();
end:	do

	/* ---- open ---- */
	:: atomic { opening == LOOK -> recover() }
	:: atomic { opening == FLUSH_FOUND ->
		flush(0);
		if
		:: ok -> opening = FILL; ok = 0
		:: else -> ok = 0; evict(); allDie()
		fi
	}
	:: atomic { opening == FILL -> fill() }

	/* ---- the writer ---- */
	:: atomic { UP && !writer && !poison && txs > 0 ->
		if
		:: wp = 0
		:: wp = 1
		fi;
		txs--;
		suspectAll(writerAbandoned);
		writer = (session -> START : OPEN_SESSION)
	}
	:: atomic { writer == OPEN_SESSION ->
		if
		:: storeMeta(SLOT, durable, 0);
#ifdef SESSION_UNFLUSHED
			writer = MOVE_SESSION
#else
			writer = FLUSH_SESSION
#endif
		:: ends > 0 -> ends--; tearMeta(SLOT); die(wp)
		fi
	}
	:: atomic { writer == FLUSH_SESSION && TURN(wp) ->
		flush(wp);
		writer = (FLUSHED -> MOVE_SESSION : NOT_GROWN); ok = 0
	}
	:: atomic { writer == MOVE_SESSION ->
		moveDurable(durable); session = 1;
		/* What was in flight before may have come to light until now. */
		published = durable.txid;
		writer = START
	}
	:: atomic { writer == START ->
		if
		:: change = 1
		:: change = 2
		:: change = 3
		fi;
		start();
		if
		:: ok -> writer = BUILD
		:: else -> rollback()
		fi;
		ok = 0
	}
	:: atomic { writer == BUILD ->
#ifdef SPILL
		if
		:: change & 1 -> storePage(new.place[0], PAGE(new.txid) + EARLY); twice = 1
		:: skip
		fi;
#endif
		writer = FINAL
	}
#if defined(FAIL) && !defined(NO_GROWTH)
	/* The file is made larger. */
	:: atomic { writer == FINAL && (fails > 0 || told[wp]) && TURN(wp) ->
		flush(wp);
		if
		:: !ok -> writer = NOT_GROWN
		:: else
		fi;
		ok = 0
	}
#endif
	:: atomic { writer == NOT_GROWN -> poison = 1; forgetWriter() }
	:: atomic { writer == FINAL ->
		if
		:: change & 1 -> storePage(new.place[0], PAGE(new.txid))
		:: else
		fi;
		if
		:: change & 2 -> storePage(new.place[1], PAGE(new.txid))
		:: else
		fi;
#ifdef TWICE_UNFLUSHED
		twice = 0;
#endif
		writer = (twice -> FLUSH_TWICE : PUBLISH)
	}
#ifdef SPILL
	:: atomic { writer == FLUSH_TWICE && TURN(wp) ->
		flush(wp);
		writer = (FLUSHED -> PUBLISH : NOT_GROWN); ok = 0
	}
#endif
	:: atomic { writer == PUBLISH -> publish() }
	:: atomic { writer == PUBLISH -> rollback() }

	/* ---- the leader ---- */
	:: atomic { UP && !leader && !poison && (wait[0] > durable.txid || wait[1] > durable.txid) ->
		if
		:: wait[0] > durable.txid -> lp = 0
		:: wait[1] > durable.txid -> lp = 1
		fi;
		suspectAll(syncAbandoned);
		leader = WALK
	}
	:: atomic { leader == WALK ->
		walk();
		if
		:: !ok -> leader = FAILED
		:: ok -> leader = META
#ifdef BIG
		:: ok -> leader = DATA
#endif
		fi;
		ok = 0
	}
#ifdef BIG
	:: atomic { leader == DATA && TURN(lp) ->
#ifdef BIG_UNFLUSHED
		ok = 1;
#else
		flush(lp);
#endif
		flushed = 1; sum[0] = 0; sum[1] = 0;
		leader = (FLUSHED -> META : FAILED); ok = 0
	}
#endif
	:: atomic { leader == META ->
		if
		:: storeMeta(SLOT, syncing, 0);
#ifdef MOVE_EARLY
			moveDurable(syncing);
#endif
			leader = FLUSH
		:: ends > 0 && !closing -> ends--; tearMeta(SLOT); die(lp)
		fi
	}
	:: atomic { leader == FLUSH && TURN(lp) ->
		flush(lp);
		leader = (FLUSHED -> MOVE : FAILED); ok = 0
	}
	:: atomic { leader == MOVE ->
#ifndef MOVE_EARLY
		moveDurable(syncing);
#endif
		forgetLeader()
	}
	:: atomic { leader == FAILED -> poison = 1; forgetLeader() }

	/* ---- a reader ---- */
#ifdef READER
	:: atomic { UP && reader.txid == 0 -> copyState(reader, durable) }
	:: atomic { UP && reader.txid != 0 -> wipeState(reader) }
#endif

	/* ---- close: the last process, alone ---- */
	:: atomic { UP && session && !poison && !writer && !leader && reader.txid == 0 && ends > 0 &&
			wait[0] <= durable.txid && wait[1] <= durable.txid ->
		ends--;
		closing = MARK;
		wait[0] = 0; wait[1] = 0; writerAbandoned = 0;
#ifdef MARK_ONLY
		if
		:: head.txid != durable.txid -> copyState(durable, head)
		:: else
		fi;
#else
		if
		:: head.txid != durable.txid ->
			syncAbandoned = 1;
#ifndef CLOSE_TRUSTS
			suspectAll(syncAbandoned);
#endif
			closing = LAST_SYNC; leader = WALK
		:: else
		fi;
#endif
		syncAbandoned = 0
	}
	:: atomic { closing == LAST_SYNC && !leader ->
		if
		:: poison -> evict(); allDie()
		:: else -> closing = MARK
		fi
	}
	:: atomic { closing == MARK -> storeMeta(SLOT, durable, 1); closing = FLUSH_MARK }
	:: atomic { closing == FLUSH_MARK -> flush(0); ok = 0; evict(); allDie() }

	/* ---- fate ---- */
	:: atomic { UP && ends > 0 && (writer && wp == 0 || leader && lp == 0 || wait[0] > durable.txid) -> ends--; die(0) }
	:: atomic { UP && ends > 0 && (writer && wp == 1 || leader && lp == 1 || wait[1] > durable.txid) -> ends--; die(1) }
	:: atomic { ends > 0 -> ends--; evict(); allDie() }
	:: atomic { UP && poison && !writer && !leader -> evict(); allDie() }
	:: atomic { ends > 0 ->
		ends--;
		partly(); reread();
#ifdef DAMAGE
		if
		:: stored[0].sequence != 0 && stored[1].sequence != 0 && !damaged ->
			i = (stored[1].sequence > stored[0].sequence -> 1 : 0);
			wipeMeta(stored[i]); wipeMeta(cached[i]);
			i = 0; damaged = 1; greatest = 0
		:: skip
		fi;
#endif
		allDie()
	}
#ifdef FAIL
	/* A process closes the store and opens it again: a handle that nothing is told. */
	:: atomic { UP && told[0] && !(writer && wp == 0) && !(leader && lp == 0) && wait[0] <= durable.txid -> told[0] = 0 }
	:: atomic { UP && told[1] && !(writer && wp == 1) && !(leader && lp == 1) && wait[1] <= durable.txid -> told[1] = 0 }
#endif
#ifdef EVICT
	:: atomic { UP -> i = 0;
		do
		:: i < PLACES && !dirty[i] && cache[i] != disk[i] -> cache[i] = disk[i]; break
		:: i < PLACES - 1 -> i++
		:: i == PLACES - 1 -> break
		od;
		i = 0
	}
#endif
	od
}
