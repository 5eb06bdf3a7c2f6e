/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/lock_text.h"

#include <stdio.h>
#include <time.h>

#include "engine/base/error.h"

/* Leaves room for the other words in cairn_holder.note. */
#define NOTE_MAX 3900

int lock_text_append(struct buf *out, long pid, const char *note,
		     uint64_t now_us)
{
	time_t seconds = (time_t)(now_us / 1000000);
	size_t start = out->len;
	struct tm tm;
	char when[32];
	int err;

	if (!gmtime_r(&seconds, &tm) ||
	    !strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return error_set(CAIRN_EINVAL, "the clock shows no date");
	if (note && *note)
		err = buf_printf(out, "pid %ld %.*s since %s", pid, NOTE_MAX,
				 note, when);
	else
		err = buf_printf(out, "pid %ld since %s", pid, when);
	if (err)
		return err;
	/* The note may hold a path, and a path anything: keep one line. */
	for (size_t i = start; i < out->len; i++) {
		if (out->data[i] < 0x20 || out->data[i] == 0x7f)
			out->data[i] = '?';
	}
	err = buf_append(out, "\n", 1);
	if (err)
		out->len = start;
	return err;
}

void lock_text_read(struct cairn_slice text, struct cairn_holder *h)
{
	size_t n = 0;

	while (n < text.len && n < sizeof(h->note) - 1 &&
	       text.data[n] != '\n' && text.data[n] != '\0')
		n++;
	if (n)
		memcpy(h->note, text.data, n);
	h->note[n] = '\0';
}

int lock_text_busy(const char *path, const struct cairn_holder *h)
{
	char who[32] = "another process";

	if (h->pid > 0)
		snprintf(who, sizeof(who), "process %ld", h->pid);
	return error_set(CAIRN_EBUSY, "%s: held by %s%s%s%s", path, who,
			 h->note[0] ? " (" : "", h->note,
			 h->note[0] ? ")" : "");
}
