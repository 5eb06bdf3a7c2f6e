/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One file operation fails, any one of them: the caller hears of it or it does
 * not matter, what was acknowledged stays, what failed has not happened, and
 * the store opens afterwards.
 */
#include <stdio.h>

#include "engine/env/env_fault.h"
#include "mvcc/forget.h"
#include "mvcc/request.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define N_KEYS 6
#define N_OPS  40
#define LARGE  (8 * CHUNK)

/* Values of a key are a run of one byte: large ones for odd keys. */
struct expected {
	uint8_t byte;    /* 0: none */
	uint8_t attempt; /* also possible after a restart; 0: none */
	bool attempted;
};

static void value_of(int key, uint8_t byte, uint8_t *value, size_t *len)
{
	*len = key % 2 ? LARGE : 10;
	memset(value, byte, *len);
}

static struct cairn_slice key_of(int key, char text[8])
{
	snprintf(text, 8, "key%d", key);
	return slice_str(text);
}

/* The byte that the value of key is a run of; 0: no such key. */
static int read_key(struct mvcc *m, int key, uint8_t *byte)
{
	struct mvcc_pinned_row r = { 0 };
	uint8_t value[LARGE], want[LARGE];
	char text[8];
	size_t len, got = 0;
	int err = mvcc_get(m, key_of(key, text), 0, &r);

	*byte = 0;
	if (err == CAIRN_NOT_FOUND)
		return CAIRN_OK;
	if (!err)
		err = mvcc_read(m, &r.row, 0, value, sizeof(value), &got);
	mvcc_row_release(&r);
	if (err)
		return err;
	*byte = value[0];
	value_of(key, *byte, want, &len);
	ck_assert_uint_eq(got, len);
	ck_assert(!memcmp(value, want, len));
	return CAIRN_OK;
}

/* The same by a request, and nothing is left of it when it fails. */
static int change_by_request(struct mvcc *m, int key, uint8_t byte)
{
	struct mvcc_request op = { .kind = MVCC_REQUEST_PUT };
	struct mvcc_request t = { .kind = MVCC_REQUEST_TXN };
	struct mvcc_answer a;
	uint8_t value[LARGE];
	char text[8];
	size_t len;
	int err;

	value_of(key, byte, value, &len);
	op.put.key = key_of(key, text);
	op.put.value = slice_of(value, len);
	op.put.prev = true;
	if (!byte) {
		op.kind = MVCC_REQUEST_DELETE;
		op.del = (struct mvcc_delete_request){ .key = key_of(key, text),
						       .prev = true };
	}
	t.txn.success = &op;
	t.txn.n_success = 1;
	err = mvcc_request(m, &t, NULL, &a);
	if (err)
		ck_assert_uint_eq(a.n_answers, 0);
	mvcc_answer_free(&a);
	return err;
}

/* Write the whole value of a key by an object, or delete it. */
static int change(struct mvcc *m, int key, uint8_t byte)
{
	struct mvcc_object *o = NULL;
	struct mvcc_txn *t = NULL;
	uint8_t value[LARGE];
	char text[8];
	size_t len;
	int err = mvcc_txn_new(m, &t);

	value_of(key, byte, value, &len);
	if (!err && !byte) {
		err = mvcc_txn_delete(t, key_of(key, text));
	} else if (!err) {
		err = mvcc_object_new(m, &o);
		for (size_t off = 0; !err && off < len; off += 10)
			err = mvcc_object_write(o, off, value + off,
						len - off < 10 ? len - off
							       : 10);
		if (!err)
			err = mvcc_txn_put_object(t, key_of(key, text), o,
						  NULL);
	}
	if (!err)
		err = mvcc_txn_commit(t, false, NULL);
	mvcc_txn_free(t);
	mvcc_object_free(o);
	return err;
}

/* The workload. Reads are checked all the time; failures go unnoticed. */
static void work(struct mvcc *m, struct expected e[N_KEYS])
{
	for (int i = 0; i < N_OPS; i++) {
		int key = i % N_KEYS;
		uint8_t byte = i % 7 == 6 ? 0 : (uint8_t)(1 + i);
		int64_t rev = mvcc_current(m);

		if ((key % 3 ? change(m, key, byte)
			     : change_by_request(m, key, byte)) == CAIRN_OK) {
			e[key].byte = byte;
			e[key].attempted = false;
		} else {
			/* It has not happened, but after a restart it may. */
			ck_assert_int_eq(mvcc_current(m), rev);
			e[key].attempted = true;
			e[key].attempt = byte;
		}
		for (int k = 0; k < N_KEYS; k++) {
			uint8_t got;

			if (read_key(m, k, &got) == CAIRN_OK)
				ck_assert_msg(got == e[k].byte,
					      "op %d: key %d is %d, not %d", i,
					      k, got, e[k].byte);
		}
		if (i % 10 == 9)
			(void)cairn_flush(mvcc_db(m), true);
		if (i == 25)
			(void)mvcc_forget(m, mvcc_current(m) - 2);
		if (i == 30)
			(void)cairn_compact_range(mvcc_db(m), none(), none(),
						  NULL);
		if (i == 35)
			(void)cairn_resume(mvcc_db(m));
	}
	forget_wait_idle(m);
}

static void ck_after_restart(struct cairn_env *env,
			     const struct expected e[N_KEYS])
{
	struct mvcc *m;

	ck_ok(store_open_at(env, &m));
	for (int k = 0; k < N_KEYS; k++) {
		uint8_t got;

		ck_ok(read_key(m, k, &got));
		ck_assert_msg(got == e[k].byte ||
				      (e[k].attempted && got == e[k].attempt),
			      "key %d is %d, not %d", k, got, e[k].byte);
	}
	ck_ok(change(m, 1, 99));
	forget_wait_idle(m);
	ck_assert_uint_eq(count_entries(m, "o"), 0);
	ck_ok(mvcc_close(m));
}

/* The workload, with its nth operation of these classes failing. */
static void run(uint64_t nth, unsigned ops, bool sticky)
{
	const struct env_fault_rule rule = {
		.ops = ops, .nth = nth, .sticky = sticky, .code = CAIRN_EIO
	};
	struct cairn_env *mem = env_mem_new(ENV_MEM_STRICT);
	struct cairn_env *env = env_fault_new(mem);
	struct expected e[N_KEYS] = { 0 };
	struct mvcc *m;

	ck_assert(mem && env);
	/* The store exists; whatever follows may fail. */
	ck_ok(store_open_at(env, &m));
	ck_ok(mvcc_close(m));
	env_fault_set(env, &rule);
	if (store_open_at(env, &m) == CAIRN_OK) {
		m->stage_bytes = 0;
		work(m, e);
		(void)mvcc_close(m);
	}
	env_fault_set(env, NULL);
	ck_after_restart(env, e);
	env_fault_free(env);
	env_mem_free(mem);
}

static const struct {
	const char *name;
	unsigned ops;
	bool sticky;
	uint64_t step;
} faults[] = {
	{ "a write", ENV_FAULT_APPEND, false, 3 },
	{ "all writes", ENV_FAULT_APPEND, true, 7 },
	{ "a sync", ENV_FAULT_SYNC | ENV_FAULT_SYNC_DIR, false, 1 },
	{ "a read", ENV_FAULT_READ, false, 3 },
	{ "a name", ENV_FAULT_CREATE | ENV_FAULT_RENAME | ENV_FAULT_UNLINK,
	  false, 1 },
};

START_TEST(a_failing_operation_loses_nothing)
{
	/* More steps than the workload has operations are harmless. */
	for (uint64_t i = 0; i < 60; i++)
		run(1 + i * faults[_i].step, faults[_i].ops, faults[_i].sticky);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fault");
	TCase *tc = tcase_create("fault");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_failing_operation_loses_nothing, 0,
			    sizeof(faults) / sizeof(faults[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
