/*
 * driver plays the part of LMDB in kvbench: the same three verbs, the same work and
 * the same lines as the players in Go. player.go describes them, operation.go and
 * histogram.go say what the functions of the same names here must agree with.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lmdb.h>

enum { KEY_SIZE = 16, VALUE_SIZE = 100, CHUNK = 10000 };
enum { SUB_BITS = 7, SUB_BUCKETS = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB_BUCKETS };

static MDB_env *env;
static MDB_dbi dbi;

static void fail(const char *what, const char *why) {
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void must(const char *what, int rc) {
	if (rc != 0)
		fail(what, mdb_strerror(rc));
}

static uint64_t mix(uint64_t x) {
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void put_be64(unsigned char *p, uint64_t x) {
	for (int i = 0; i < 8; i++)
		p[i] = x >> (56 - 8 * i);
}

static void make_key(unsigned char *key, uint64_t number) {
	put_be64(key, mix(number));
	put_be64(key + 8, mix(~number));
}

static uint64_t make_value(unsigned char *value, uint64_t seed, uint64_t writer, uint64_t seq) {
	uint64_t state = mix(mix(mix(seed) + writer) + seq);
	for (uint64_t i = 0; i < VALUE_SIZE; i += 8) {
		unsigned char word[8];
		put_be64(word, mix(state + i));
		memcpy(value + i, word, VALUE_SIZE - i < 8 ? VALUE_SIZE - i : 8);
	}
	return state;
}

static size_t bucket(uint64_t ns) {
	if (ns < SUB_BUCKETS)
		return ns;
	int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
	return (size_t)shift * SUB_BUCKETS + (ns >> shift);
}

static int64_t now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* open_env opens the store with LMDB's defaults and makes sure that they are durable. */
static void open_env(const char *dir, uint64_t map_size) {
	unsigned flags;
	MDB_txn *txn;
	must("mdb_env_create", mdb_env_create(&env));
	if (map_size != 0)
		must("mdb_env_set_mapsize", mdb_env_set_mapsize(env, map_size));
	must("mdb_env_open", mdb_env_open(env, dir, 0, 0600));
	must("mdb_env_get_flags", mdb_env_get_flags(env, &flags));
	if (flags & (MDB_NOSYNC | MDB_NOMETASYNC | MDB_WRITEMAP | MDB_MAPASYNC))
		fail("mdb_env_get_flags", "the defaults are not the durable ones");
	must("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn));
	must("mdb_dbi_open", mdb_dbi_open(txn, NULL, 0, &dbi));
	must("mdb_txn_commit", mdb_txn_commit(txn));
}

static void put(MDB_txn *txn, unsigned char *key, unsigned char *value) {
	MDB_val k = {KEY_SIZE, key}, v = {VALUE_SIZE, value};
	must("mdb_put", mdb_put(txn, dbi, &k, &v, 0));
}

static void load(uint64_t keys) {
	unsigned char key[KEY_SIZE], value[VALUE_SIZE];
	for (uint64_t number = 0; number < keys;) {
		MDB_txn *txn;
		must("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn));
		do {
			make_key(key, number);
			make_value(value, 0, number, 0);
			put(txn, key, value);
		} while (++number < keys && number % CHUNK != 0);
		must("mdb_txn_commit", mdb_txn_commit(txn));
	}
	printf("about LMDB %d.%d.%d, no environment flags: neither NOSYNC, NOMETASYNC, WRITEMAP nor MAPASYNC\n",
	       MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH);
}

static uint64_t keys, seed, workers, first, threads;
static int64_t duration, start; /* of the measured time, by the monotonic clock */

struct worker {
	pthread_t thread;
	uint64_t id, seq, within;
	int64_t late, max;
	uint64_t counts[BUCKETS];
};

static void commit(struct worker *w) {
	unsigned char key[KEY_SIZE], value[VALUE_SIZE];
	MDB_txn *txn;
	uint64_t state = make_value(value, seed, w->id, ++w->seq);
	make_key(key, mix(~state) % (keys / workers) * workers + w->id);
	must("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn));
	put(txn, key, value);
	must("mdb_txn_commit", mdb_txn_commit(txn));
}

static void *warm(void *arg) {
	commit(arg);
	return NULL;
}

static void *measure(void *arg) {
	struct worker *w = arg;
	struct timespec t = {start / 1000000000, start % 1000000000};
	int64_t last, end = start + duration;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
	last = now(CLOCK_MONOTONIC);
	w->late = last - start;
	while (last < end) {
		int64_t done, took;
		commit(w);
		done = now(CLOCK_MONOTONIC);
		took = done - last;
		w->counts[bucket(took)]++;
		if (took > w->max)
			w->max = took;
		if (done <= end)
			w->within++;
		last = done;
	}
	return NULL;
}

static void each(struct worker *crew, void *(*does)(void *)) {
	for (uint64_t i = 0; i < threads; i++)
		must("pthread_create", pthread_create(&crew[i].thread, NULL, does, &crew[i]));
	for (uint64_t i = 0; i < threads; i++)
		must("pthread_join", pthread_join(crew[i].thread, NULL));
}

static void work(void) {
	int64_t wall;
	struct worker *crew = calloc(threads, sizeof *crew);
	if (crew == NULL)
		fail("calloc", strerror(errno));
	for (uint64_t i = 0; i < threads; i++)
		crew[i].id = first + i;
	each(crew, warm);
	puts("ready");
	fflush(stdout);
	if (scanf("go %" SCNd64, &wall) != 1)
		fail("work", "no word to go");
	start = wall - now(CLOCK_REALTIME) + now(CLOCK_MONOTONIC);
	each(crew, measure);
	for (uint64_t i = 0; i < threads; i++) {
		struct worker *w = &crew[i];
		printf("worker %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n",
		       w->id, w->seq, w->within, w->late, w->max);
		for (size_t b = 0; b < BUCKETS; b++)
			if (w->counts[b] != 0)
				printf("latency %zu %" PRIu64 "\n", b, w->counts[b]);
	}
	free(crew);
}

static void unhex(unsigned char *to, size_t size, const char *text) {
	if (strlen(text) != 2 * size)
		fail("check", "a key or value has the wrong length");
	for (size_t i = 0; i < size; i++)
		if (sscanf(text + 2 * i, "%2hhx", &to[i]) != 1)
			fail("check", "a key or value is not in hexadecimal");
}

static void check(void) {
	char key_text[2 * KEY_SIZE + 2], value_text[2 * VALUE_SIZE + 2];
	MDB_txn *txn;
	MDB_stat stat;
	must("mdb_txn_begin", mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
	while (scanf("%33s %201s", key_text, value_text) == 2) {
		unsigned char key[KEY_SIZE], value[VALUE_SIZE];
		MDB_val k = {KEY_SIZE, key}, v;
		unhex(key, KEY_SIZE, key_text);
		unhex(value, VALUE_SIZE, value_text);
		must("mdb_get", mdb_get(txn, dbi, &k, &v));
		if (v.mv_size != VALUE_SIZE || memcmp(v.mv_data, value, VALUE_SIZE) != 0)
			fail("check", "the last value is not there");
	}
	must("mdb_stat", mdb_stat(txn, dbi, &stat));
	printf("count %zu\n", stat.ms_entries);
	mdb_txn_abort(txn);
}

static uint64_t number(char **argv, int i) {
	return strtoull(argv[i], NULL, 10);
}

int main(int argc, char **argv) {
	if (argc == 4 && strcmp(argv[1], "load") == 0) {
		open_env(argv[2], (UINT64_C(1) << 30) + number(argv, 3) * 1024);
		load(number(argv, 3));
	} else if (argc == 9 && strcmp(argv[1], "work") == 0) {
		open_env(argv[2], 0);
		keys = number(argv, 3), seed = number(argv, 4), workers = number(argv, 5);
		first = number(argv, 6), threads = number(argv, 7), duration = number(argv, 8);
		work();
	} else if (argc == 3 && strcmp(argv[1], "check") == 0) {
		open_env(argv[2], 0);
		check();
	} else {
		fail("usage", "load DIR KEYS | work DIR KEYS SEED WORKERS FIRST THREADS NANOSECONDS | check DIR");
	}
	mdb_env_close(env);
	puts("done");
	return fflush(stdout) == 0 ? 0 : 1;
}
