/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/stats/stats.h"

#include <ctype.h>
#include <stdio.h>

#include "tests/support/runner.h"

static struct stats s;
static struct buf text;

static void setup(void)
{
	static struct cairn_job jobs[] = {
		{ .job = 8,
		  .running = true,
		  .from_level = -1,
		  .to_level = 0,
		  .files = 1,
		  .bytes = 1000,
		  .bytes_done = 250,
		  .kind = "flush",
		  .reason = "memtable full" },
		{ .job = 9,
		  .from_level = 0,
		  .to_level = 5,
		  .kind = "default",
		  .reason = "score 1.00" },
	};

	memset(&s, 0, sizeof(s));
	s.dir = "/srv/app";
	s.revisions = true;
	s.mvcc.current = 4711;
	s.engine.cache_hits = 918223;
	s.engine.cache_misses = 27411;
	s.engine.uptime_us = UINT64_C(86512250000);
	s.engine.wal_in_bytes = 1000;
	s.engine.wal_written_bytes = 1100;
	strcpy(s.engine.stall_cause, "-");
	for (unsigned i = 0; i < CAIRN_LEVELS; i++) {
		s.engine.level[i].files = i;
		s.engine.level[i].size_bytes = i * 1000000;
		s.engine.level[i].sublevels = i > 0;
		s.engine.level[i].in_bytes = 1000;
		s.engine.level[i].compacted_bytes = 2500;
		strcpy(s.engine.level[i].compression, "snappy");
	}
	s.op[STATS_READ] = (struct cairn_latency){ .count = 3, .sum_us = 30 };
	s.jobs = jobs;
	s.n_jobs = 2;
}

static void teardown(void)
{
	buf_fini(&text);
}

static char *value_of(const char *name)
{
	buf_clear(&text);
	ck_assert_msg(stats_value(&s, name, &text) == CAIRN_OK, "%s", name);
	ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
	return (char *)text.data;
}

static char *text_of(const char *name)
{
	buf_clear(&text);
	ck_assert_msg(stats_text(&s, name, &text) == CAIRN_OK, "%s", name);
	ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
	return (char *)text.data;
}

START_TEST(one_number_is_spelled_alike_in_all_places)
{
	ck_assert_str_eq(value_of("cache/hits_total"), "918223");
	ck_assert_ptr_nonnull(
		strstr(text_of("all"), "\ncache_hits_total 918223\n"));
	ck_assert_ptr_nonnull(strstr(text_of("json"), "\"hits_total\":918223"));
	ck_assert_ptr_nonnull(strstr(text_of("metrics"),
				     "\ncairn_cache_hits_total 918223\n"));
	ck_assert_ptr_nonnull(
		strstr(text_of("all"), "\nlevel_6_size_bytes 6000000\n"));
	ck_assert_ptr_nonnull(
		strstr(text_of("metrics"),
		       "\ncairn_level_size_bytes{level=\"6\"} 6000000\n"));
}
END_TEST

START_TEST(every_name_has_one_value_on_one_line)
{
	for (size_t i = 0; stats_name(i); i++) {
		const char *v = value_of(stats_name(i));

		ck_assert_msg(*v && !strchr(v, '\n'), "%s", stats_name(i));
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(stats_name(i), stats_name(j));
	}
	for (size_t i = 0; stats_level_name(i); i++) {
		buf_clear(&text);
		ck_assert_int_eq(
			stats_level_value(&s, 3, stats_level_name(i), &text),
			CAIRN_OK);
		ck_assert_uint_gt(text.len, 0);
	}
	ck_assert_int_eq(stats_value(&s, "no/such", &text), CAIRN_NOT_FOUND);
	ck_assert_int_eq(stats_text(&s, "nosuch", &text), CAIRN_NOT_FOUND);
}
END_TEST

START_TEST(ratios_and_times_have_their_units)
{
	ck_assert_str_eq(value_of("cache/hit_ratio"), "0.971");
	ck_assert_str_eq(value_of("uptime_seconds"), "86512.250");
	/* (1100 + 7 * 2500) / 1100 */
	ck_assert_str_eq(value_of("compaction/write_amp"), "16.91");
	ck_assert_str_eq(value_of("compaction/read_amp"), "6");
}
END_TEST

START_TEST(health_names_the_worst_trouble)
{
	ck_assert_str_eq(value_of("health"), "ok");
	s.engine.stall_state = CAIRN_STALL_STOPPED;
	strcpy(s.engine.stall_cause, "memtables");
	ck_assert_str_eq(value_of("health"), "stopped memtables");
	s.engine.disk_low = true;
	s.engine.disk_free_bytes = 70;
	s.engine.disk_reserve_bytes = 80;
	ck_assert_str_eq(value_of("health"),
			 "full disk, 70 bytes free, 80 held back");
	s.engine.quota_reached = true;
	s.engine.size_in_use_bytes = 95;
	s.engine.quota_bytes = 100;
	ck_assert_str_eq(value_of("health"),
			 "full quota reached, 95 of 100 bytes in use");
	s.engine.background_error = CAIRN_EIO;
	strcpy(s.background_error, "000012.log: cannot sync");
	ck_assert_str_eq(value_of("health"),
			 "readonly 000012.log: cannot sync");
	s.engine.background_error = CAIRN_ENOSPC;
	ck_assert_str_eq(value_of("health"), "full 000012.log: cannot sync");
}
END_TEST

/* A reader of JSON that keeps nothing: the byte after the value, or NULL. */
static const char *json_skip(const char *p)
{
	char close;

	if (*p == '"') {
		for (p++; *p && *p != '"'; p++)
			if (*p == '\\' && !*++p)
				return NULL;
		return *p ? p + 1 : NULL;
	}
	if (*p != '{' && *p != '[') {
		const char *from = p;

		while (isdigit((unsigned char)*p) || strchr("+-.eE", *p))
			p += *p != 0;
		return p > from ? p : NULL;
	}
	close = *p == '{' ? '}' : ']';
	for (p++; *p != close;) {
		bool object = close == '}';

		if (object && *p != '"')
			return NULL;
		p = json_skip(p);
		if (object && p && *p == ':')
			p = json_skip(p + 1);
		else if (object)
			return NULL;
		if (!p || (*p != ',' && *p != close))
			return NULL;
		if (*p == ',' && p[1] == close)
			return NULL;
		p += *p == ',';
	}
	return p + 1;
}

START_TEST(json_is_json)
{
	const char *end;

	s.engine.background_error = CAIRN_EIO;
	strcpy(s.background_error, "quote \" backslash \\ newline \n \xff");
	end = json_skip(text_of("json"));
	ck_assert_msg(end && !strcmp(end, "\n"), "%s", (char *)text.data);
}
END_TEST

START_TEST(every_metric_is_announced_once_and_before_its_values)
{
	char *save = NULL, announced[128] = "";

	for (char *line = strtok_r(text_of("metrics"), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		size_t n = strcspn(line, " {");

		if (sscanf(line, "# TYPE %127s", announced) == 1)
			continue;
		if (*line == '#')
			continue;
		ck_assert_msg(strlen(announced) == n &&
				      !strncmp(line, announced, n),
			      "%s", line);
	}
}
END_TEST

START_TEST(the_summary_fits_a_terminal)
{
	size_t lines = 0;

	for (const char *p = text_of("summary"); *p; lines++) {
		size_t n = strcspn(p, "\n");

		ck_assert_msg(n <= 100, "%.*s", (int)n, p);
		p += n + 1;
	}
	ck_assert_uint_eq(lines, 14);
}
END_TEST

START_TEST(jobs_and_latencies_are_lines)
{
	ck_assert_ptr_nonnull(strstr(text_of("compactions"), "memtable full"));
	ck_assert_ptr_nonnull(strstr(text_of("compactions"), "25%"));
	ck_assert_ptr_nonnull(strstr(text_of("compactions"), "queued"));
	ck_assert_ptr_nonnull(strstr(text_of("latency"), "\nread "));
	ck_assert_ptr_null(strstr(text_of("latency"), "\nrename "));
	ck_assert_ptr_nonnull(strstr(text_of("stalls"), "state none\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *t = tcase_create("stats");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_number_is_spelled_alike_in_all_places);
	tcase_add_test(t, every_name_has_one_value_on_one_line);
	tcase_add_test(t, ratios_and_times_have_their_units);
	tcase_add_test(t, health_names_the_worst_trouble);
	tcase_add_test(t, json_is_json);
	tcase_add_test(t, every_metric_is_announced_once_and_before_its_values);
	tcase_add_test(t, the_summary_fits_a_terminal);
	tcase_add_test(t, jobs_and_latencies_are_lines);
	suite_add_tcase(suite, t);
	return run_suite(suite);
}
