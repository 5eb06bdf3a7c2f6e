/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Problem spans: where a compaction met damage. For a while the picker leaves
 * the keys of the damaged table alone in its level, as if a job were at them;
 * all else goes on. Then it is tried again: the damage may have been in the
 * memory or on the bus. Nothing is ever rewritten around damage.
 *
 * A compaction that somebody asks for does not avoid them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"
#include "engine/db/work_impl.h"

/* Damaged tables are not going to get better soon. */
#define AVOID_US UINT64_C(60000000)

struct problem {
	struct list link; /* in work.problems */
	/* What is avoided. Of one table: within its level. When it is not known
	 * which table it is: all that the job was at. */
	struct compaction_plan plan;
	uint64_t file_number; /* 0: not known */
	int level;
	char name[32];
	uint64_t since_us; /* wall clock */
	uint64_t until_us; /* monotonic */
	char message[1024];
};

static void post(struct work *w, const struct problem *p, bool begin)
{
	struct cairn_event e = {
		.kind = begin ? CAIRN_EVENT_PROBLEM_SPAN_BEGIN
			      : CAIRN_EVENT_PROBLEM_SPAN_END,
		.file_number = p->file_number,
		.from_level = p->level,
		.to_level = p->level,
		.code = begin ? CAIRN_ECORRUPT : CAIRN_OK,
		.reason = p->name,
		.detail = p->message,
	};

	events_queue(w->db->events, &e);
}

static void problem_free(struct problem *p)
{
	compaction_plan_fini(&p->plan);
	free(p);
}

static void end_problem(struct work *w, struct problem *p)
{
	list_remove(&p->link);
	post(w, p, false);
	problem_free(p);
	w->pick_due = true;
}

/* The input of that number; its level. */
static struct file_meta *find_input(const struct compaction_plan *p,
				    uint64_t number, int *level)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < p->n_inputs[side]; i++) {
			if (p->inputs[side][i]->number != number)
				continue;
			*level = side ? p->to_level : p->from_level;
			return p->inputs[side][i];
		}
	return NULL;
}

/* Whether it is known already; then it lasts longer. */
static bool renew(struct work *w, uint64_t number, uint64_t until_us)
{
	list_for_each (pos, &w->problems) {
		struct problem *p = list_entry(pos, struct problem, link);

		if (!number || p->file_number != number)
			continue;
		p->until_us = until_us;
		return true;
	}
	return false;
}

/* What is avoided for the sake of one file. */
static int avoid_file(struct problem *p, struct file_meta *f, int level)
{
	p->plan.inputs[0] = malloc(sizeof(*p->plan.inputs[0]));
	if (!p->plan.inputs[0])
		return error_nomem();
	p->plan.inputs[0][0] = file_meta_ref(f);
	p->plan.n_inputs[0] = 1;
	p->plan.bytes[0] = f->size;
	p->plan.from_level = level;
	p->plan.to_level = level;
	p->plan.smallest = f->smallest_key.user_key;
	p->plan.largest = f->largest_key.user_key;
	p->level = level;
	p->file_number = f->number;
	snprintf(p->name, sizeof(p->name), "L%d-%06" PRIu64, level, f->number);
	return CAIRN_OK;
}

/* ... of all that a job was at. */
static int avoid_plan(struct problem *p, const struct job *j)
{
	for (int side = 0; side < 2; side++) {
		size_t n = j->plan.n_inputs[side];
		struct file_meta **files = calloc(n + 1, sizeof(*files));

		if (!files)
			return error_nomem();
		for (size_t i = 0; i < n; i++)
			files[i] = file_meta_ref(j->plan.inputs[side][i]);
		p->plan.inputs[side] = files;
		p->plan.n_inputs[side] = n;
		p->plan.bytes[side] = j->plan.bytes[side];
	}
	p->plan.from_level = j->plan.from_level;
	p->plan.to_level = j->plan.to_level;
	p->plan.smallest = j->plan.smallest;
	p->plan.largest = j->plan.largest;
	p->level = p->plan.from_level;
	snprintf(p->name, sizeof(p->name), "L%d-L%d-job-%" PRIu64,
		 p->plan.from_level, p->plan.to_level, j->id);
	return CAIRN_OK;
}

int work_add_problem(struct work *w, const struct job *j, uint64_t damaged)
{
	struct cairn_db *db = w->db;
	uint64_t until_us = env_mono_us(db->env) + AVOID_US;
	struct file_meta *f;
	struct problem *p;
	int level = 0;
	int err;

	assert_held(&db->mu);
	if (renew(w, damaged, until_us))
		return CAIRN_OK;
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_nomem();
	snprintf(p->message, sizeof(p->message), "%s", cairn_errmsg());
	p->since_us = env_now_us(db->env);
	p->until_us = until_us;
	p->plan.kind = COMPACT_PROBLEM;
	f = find_input(&j->plan, damaged, &level);
	err = f ? avoid_file(p, f, level) : avoid_plan(p, j);
	if (err) {
		problem_free(p);
		return err;
	}
	list_add_tail(&w->problems, &p->link);
	post(w, p, true);
	return CAIRN_OK;
}

void work_expire_problems(struct work *w)
{
	uint64_t now = env_mono_us(w->db->env);

	assert_held(&w->db->mu);
	list_for_each_safe (pos, next, &w->problems) {
		struct problem *p = list_entry(pos, struct problem, link);

		if (p->until_us <= now)
			end_problem(w, p);
	}
}

void work_problem_file_gone(struct work *w, uint64_t number)
{
	int level;

	assert_held(&w->db->mu);
	list_for_each_safe (pos, next, &w->problems) {
		struct problem *p = list_entry(pos, struct problem, link);

		if (find_input(&p->plan, number, &level))
			end_problem(w, p);
	}
	/* Nothing is left of what compactions failed at. */
	if (list_empty(&w->problems) && w->error.severity == ERROR_SOFT &&
	    w->error.code == CAIRN_ECORRUPT)
		work_clear_error(w);
}

size_t work_problem_plans(const struct work *w,
			  const struct compaction_plan **out)
{
	size_t n = 0;

	list_for_each (pos, &w->problems) {
		if (out)
			out[n] = &list_entry(pos, struct problem, link)->plan;
		n++;
	}
	return n;
}

void work_problems_fini(struct work *w)
{
	list_for_each_safe (pos, next, &w->problems) {
		list_remove(pos);
		problem_free(list_entry(pos, struct problem, link));
	}
}

/* ----------------------------------------------------------------- showing */

static int show(const struct problem *p, uint64_t now,
		struct cairn_problem_span *out)
{
	size_t n = p->plan.smallest.len + p->plan.largest.len;
	size_t message = strlen(p->message) + 1;
	/* The keys and the message behind one another, freed by the message. */
	char *room = malloc(message + n);
	uint8_t *keys;

	if (!room)
		return error_nomem();
	memcpy(room, p->message, message);
	keys = (uint8_t *)room + message;
	*out = (struct cairn_problem_span){
		.level = p->level,
		.file_number = p->file_number,
		.since_us = p->since_us,
		.left_us = p->until_us > now ? p->until_us - now : 0,
		.message = room,
		.smallest = slice_of(keys, p->plan.smallest.len),
		.largest = slice_of(keys + p->plan.smallest.len,
				    p->plan.largest.len),
	};
	if (p->plan.smallest.len)
		memcpy(keys, p->plan.smallest.data, p->plan.smallest.len);
	if (p->plan.largest.len)
		memcpy(keys + p->plan.smallest.len, p->plan.largest.data,
		       p->plan.largest.len);
	snprintf(out->name, sizeof(out->name), "%s", p->name);
	return CAIRN_OK;
}

int cairn_problem_spans(struct cairn_db *db, struct cairn_problem_list *out)
{
	struct cairn_problem_list l = { 0 };
	uint64_t now = env_mono_us(db->env);
	int err = CAIRN_OK;

	if (!db->work) {
		*out = l;
		return CAIRN_OK;
	}
	mutex_lock(&db->mu);
	l.spans = calloc(work_problem_plans(db->work, NULL) + 1,
			 sizeof(*l.spans));
	if (!l.spans)
		err = error_nomem();
	list_for_each (pos, &db->work->problems) {
		if (!err)
			err = show(list_entry(pos, struct problem, link), now,
				   &l.spans[l.n]);
		if (!err)
			l.n++;
	}
	mutex_unlock(&db->mu);
	if (err)
		cairn_problem_list_free(&l);
	else
		*out = l;
	return err;
}

void cairn_problem_list_free(struct cairn_problem_list *l)
{
	for (size_t i = 0; l->spans && i < l->n; i++)
		free((void *)(uintptr_t)l->spans[i].message);
	free(l->spans);
	*l = (struct cairn_problem_list){ 0 };
}
