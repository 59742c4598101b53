/*
 * A record: a commit of several words, published by one. There are two of them, which
 * have nothing to do with each other: writers publish the head under the writer mutex,
 * leaders the durable one under the sync mutex.
 *
 * The publisher fills the cell that is not the current one and then moves the word,
 * whose lowest bit names the cell. It may die after each step; the next one finds the
 * mutex abandoned and begins anew. Here a commit is two words, both its txid. Txids
 * skip: one that was handed out to a dead or rolled back transaction is not used
 * again, and a leader makes several commits durable at once.
 *
 * What must hold: a reader gets the two words of one commit, the one published with
 * the word it read. It reads again only after another commit was published, so that
 * it never waits for a publisher that is slow, stopped or dead.
 *
 * Runs:
 *   holds -
 *   breaks ONE_CELL: the current cell is filled anew
 *   breaks ONE_CELL SEQUENCE_LOCK: and readers wait until it is whole, for a dead publisher too
 *   breaks NO_LAST_LOOK: the reader does not look at the word again
 *   breaks TXID_CELL: the word is the txid, and its parity names the cell
 */
#ifndef COMMITS
#define COMMITS 5
#endif
#ifndef LOADS
#define LOADS 3
#endif

#define FIRST 2 /* txid of the first commit; even, as its word is */

byte word, cell0[2], cell1[2]; /* the first and the second word of either cell */
byte next = FIRST;             /* last txid handed out */
bit publishing;                /* the mutex */

byte published[4 * COMMITS];   /* by word: the txid of the commit */

#ifdef ONE_CELL
#define CELL(w) 0
#else
#define CELL(w) ((w) & 1)
#endif

/* Whoever dies frees the mutex, as abandoned. */
inline mayDie() {
	if
	:: skip
	:: publishing = 0; goto again
	fi
}

proctype Publisher() {
	byte t, w;
again:	atomic { t = 0; w = 0 }
	do
	:: atomic { !publishing && next < FIRST + COMMITS -> publishing = 1 }
		atomic { next++; t = next }
		mayDie();
#ifdef TXID_CELL
		w = t;
#else
#ifdef SEQUENCE_LOCK
		w = (word | 1) + 1;
		word = w - 1; /* odd: being filled */
		mayDie();
#else
		w = word + 1;
#endif
#endif
		cell0[CELL(w)] = t;
		mayDie();
		cell1[CELL(w)] = t;
		mayDie();
		atomic { word = w; published[w] = t }
		mayDie();
		atomic { publishing = 0; t = 0; w = 0 }
	:: atomic { next == FIRST + COMMITS -> break }
	od
}

proctype Reader() {
	byte w, a, b, n, before;
	bit again;
	do
	:: n < LOADS ->
		n++;
look:		w = word;
		assert(!again || w != before);
		again = 1; before = w;
#ifdef SEQUENCE_LOCK
		if
		:: w & 1 -> goto look
		:: else
		fi;
#endif
		a = cell0[CELL(w)];
		b = cell1[CELL(w)];
#ifndef NO_LAST_LOOK
		if
		:: word != w -> goto look
		:: else
		fi;
#endif
		atomic {
			assert(a == published[w] && b == published[w]);
			again = 0; before = 0; w = 0; a = 0; b = 0
		}
	:: break
	od
}

init {
	atomic {
#ifdef TXID_CELL
		word = FIRST;
#endif
		cell0[0] = FIRST; cell1[0] = FIRST; published[word] = FIRST;
		run Publisher(); run Publisher(); run Reader()
	}
}
