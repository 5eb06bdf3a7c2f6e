/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/history.h"

#include <ctype.h>
#include <stdlib.h>

#include "engine/base/rng.h"
#include "tests/compat/die.h"
#include "tests/metamorphic/merge.h"

/* No line of a history may ask for more. */
#define FILLED_MAX (64u << 20)
#define ARGS_MAX   512

const struct op_info op_infos[N_OP_KINDS] = {
#define X(name, args) [OP_##name] = { #name, args },
	OP_KINDS(X)
#undef X
};

/* -------------------------------------------------------------------- words */

static struct word *word_alloc(size_t len)
{
	struct word *w = must_have(malloc(sizeof(*w) + len + 1));

	w->refs = 1;
	w->none = false;
	w->len = len;
	return w;
}

struct word *word_new(struct cairn_slice s)
{
	struct word *w = word_alloc(s.len);

	if (s.len)
		memcpy(w->data, s.data, s.len);
	return w;
}

struct word *word_ref(struct word *w)
{
	w->refs++;
	return w;
}

void word_unref(struct word *w)
{
	if (w && --w->refs == 0)
		free(w);
}

/* About half of it can be compressed away. */
static void fill(struct word *w, size_t from)
{
	uint64_t seed = 0;
	struct rng rng;

	for (size_t i = 0; i < from; i++)
		seed = seed * 31 + w->data[i];
	rng_init(&rng, seed);
	for (size_t i = from; i < w->len; i++)
		w->data[i] = i % 16 < 8 ? (uint8_t)('a' + i % 4)
					: (uint8_t)rng_below(&rng, 256);
}

/* --------------------------------------------------------------------- text */

static bool is_plain(uint8_t c)
{
	return isgraph(c) && c < 0x7f && !strchr("%*-,", c);
}

void text_add_bytes(struct buf *line, struct cairn_slice s)
{
	if (!s.data)
		must(buf_append(line, "-", 1), "text");
	else if (!s.len)
		must(buf_append(line, "%", 1), "text");
	for (size_t i = 0; i < s.len; i++)
		if (is_plain(s.data[i]))
			must(buf_append(line, &s.data[i], 1), "text");
		else
			must(buf_printf(line, "%%%02x", (unsigned)s.data[i]),
			     "text");
}

void text_add_filled(struct buf *line, const char *text, size_t len)
{
	must(buf_printf(line, "%s*%zu", text, len), "text");
}

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes that text[0, len) shows into out; SIZE_MAX: it shows none. */
static size_t unescape(const char *text, size_t len, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (text[i] != '%') {
			out[n++] = (uint8_t)text[i];
			continue;
		}
		if (len - i < 3)
			return SIZE_MAX;
		high = hex_digit(text[i + 1]);
		low = hex_digit(text[i + 2]);
		if (high < 0 || low < 0)
			return SIZE_MAX;
		out[n++] = (uint8_t)(high << 4 | low);
		i += 2;
	}
	return n;
}

/* NULL: no word. */
static struct word *parse_word(const char *text, size_t len)
{
	const char *star = memchr(text, '*', len);
	size_t shown = star ? (size_t)(star - text) : len;
	size_t total = 0;
	struct word *w;
	size_t n;

	if (star) {
		char *end;

		if (!isdigit((unsigned char)star[1]))
			return NULL;
		total = strtoul(star + 1, &end, 10);
		if (end != text + len || total > FILLED_MAX)
			return NULL;
	}
	w = word_alloc(total > shown ? total : shown);
	if (len == 1 && *text == '-') {
		w->none = true;
		w->len = 0;
		return w;
	}
	n = len == 1 && *text == '%' ? 0 : unescape(text, shown, w->data);
	if (n == SIZE_MAX) {
		word_unref(w);
		return NULL;
	}
	w->len = total > n ? total : n;
	fill(w, n);
	return w;
}

/* --------------------------------------------------------------- operations */

uint64_t op_number(const struct op *op, unsigned i)
{
	const struct word *w = op->args[i];
	uint64_t v = 0;

	if (w->none)
		return UINT64_MAX;
	for (size_t k = 0; k < w->len; k++)
		v = v * 10 + (uint64_t)(w->data[k] - '0');
	return v;
}

static bool is_number_below(const struct word *w, uint64_t limit)
{
	uint64_t v = 0;

	if (w->none || !w->len || w->len > 18)
		return false;
	for (size_t i = 0; i < w->len; i++) {
		if (!isdigit(w->data[i]))
			return false;
		v = v * 10 + (uint64_t)(w->data[i] - '0');
	}
	return v < limit;
}

static bool fits(const struct word *w, char arg)
{
	switch (arg) {
	case 'k':
		return !w->none && w->len <= CAIRN_KEY_MAX;
	case 'K':
		return w->len <= CAIRN_KEY_MAX;
	case 'v':
		return !w->none;
	case 'b':
		return is_number_below(w, N_BATCHES);
	case 'i':
		return is_number_below(w, N_ITERS);
	case 's':
		return is_number_below(w, N_SNAPSHOTS);
	case 'S':
		return w->none || is_number_below(w, N_SNAPSHOTS);
	case 'p':
		return is_number_below(w, N_PINS);
	case 'n':
		return is_number_below(w, UINT64_MAX);
	default:
		return true;
	}
}

static bool args_fit(const struct op *op)
{
	const char *spec = op_infos[op->kind].args;
	char arg = '\0';

	for (unsigned i = 0; i < op->n_args; i++) {
		if (*spec && *spec != '+' && *spec != '*')
			arg = *spec++;
		else if (*spec == '*')
			arg = '*';
		else if (*spec != '+')
			return false;
		if (!fits(op->args[i], arg))
			return false;
	}
	return !*spec || *spec == '+' || *spec == '*';
}

static enum op_kind kind_of(const char *name, size_t len)
{
	int k = 0;

	while (k < N_OP_KINDS && (strlen(op_infos[k].name) != len ||
				  memcmp(op_infos[k].name, name, len) != 0))
		k++;
	return (enum op_kind)k;
}

void op_free(struct op *op)
{
	if (!op)
		return;
	for (unsigned i = 0; i < op->n_args; i++)
		word_unref(op->args[i]);
	free(op->args);
	free(op->line);
	free(op);
}

static bool parse_args(struct op *op, const char *p)
{
	struct word *args[ARGS_MAX];
	bool good = true;

	while (*p && good) {
		size_t len = strcspn(++p, " ");

		good = len > 0 && op->n_args < ARGS_MAX;
		if (good)
			args[op->n_args] = parse_word(p, len);
		good = good && args[op->n_args];
		op->n_args += good;
		p += len;
	}
	op->args = must_have(calloc(op->n_args + 1, sizeof(*op->args)));
	memcpy(op->args, args, op->n_args * sizeof(*args));
	return good && args_fit(op);
}

struct op *op_parse(const char *line, char *why, size_t why_len)
{
	size_t len = strcspn(line, " ");
	struct op *op = must_have(calloc(1, sizeof(*op)));

	op->kind = kind_of(line, len);
	op->line = must_have(strdup(line));
	if (op->kind == N_OP_KINDS) {
		snprintf(why, why_len, "no operation \"%.*s\"", (int)len, line);
		op_free(op);
		return NULL;
	}
	if (!parse_args(op, line + len)) {
		snprintf(why, why_len, "%s takes \"%s\", see history.h",
			 op_infos[op->kind].name, op_infos[op->kind].args);
		op_free(op);
		return NULL;
	}
	return op;
}

static char letter_of(const struct op *op, unsigned i)
{
	const struct word *w = op->args[i];

	return w->len == 1 ? (char)w->data[0] : '\0';
}

bool ingest_parse(const struct op *op, struct ingest *out)
{
	unsigned in_table = 0;

	out->n = 0;
	out->n_tables = 1;
	for (unsigned i = 1; i < op->n_args; i++) {
		struct ingest_change *c = &out->v[out->n];
		unsigned more;

		c->what = letter_of(op, i);
		if (c->what == '/') {
			if (!in_table || ++out->n_tables > INGEST_TABLES)
				return false;
			in_table = 0;
			continue;
		}
		if (!c->what || !strchr("pdmr", c->what))
			return false;
		more = c->what == 'd' ? 1 : 2;
		if (op->n_args - i <= more || ++out->n == INGEST_CHANGES)
			return false;
		c->table = out->n_tables - 1;
		c->key = op->args[i + 1];
		c->value = more == 2 ? op->args[i + 2] : NULL;
		if (c->key->none || (c->value && c->value->none))
			return false;
		in_table++;
		i += more;
	}
	return in_table > 0;
}

/* ---------------------------------------------------------------- histories */

void history_add(struct history *h, struct op *op)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 256;
		h->ops = must_have(realloc(h->ops, h->cap * sizeof(*h->ops)));
	}
	h->ops[h->n++] = op;
}

void history_fini(struct history *h)
{
	for (size_t i = 0; i < h->n; i++)
		op_free(h->ops[i]);
	free(h->ops);
	free(h->sets);
	*h = (struct history){ 0 };
}

void history_print(const struct history *h, FILE *f)
{
	fprintf(f, "history %s\n", h->merge);
	for (size_t i = 0; i < h->n; i++)
		fprintf(f, "%s\n", h->ops[i]->line);
}

const char *history_operator(const char *name)
{
	for (size_t i = 0; i < N_MERGES; i++)
		if (strcmp(merges[i].name, name) == 0)
			return merges[i].name;
	return NULL;
}

static void read_line(struct history *h, const char *path, size_t number,
		      const char *line)
{
	static const char first[] = "history ", sets[] = "# sets: ";
	char why[128];
	struct op *op;

	if (strncmp(line, sets, strlen(sets)) == 0 && !h->sets)
		h->sets = must_have(strdup(line + strlen(sets)));
	if (!*line || *line == '#')
		return;
	if (!h->merge) {
		if (strncmp(line, first, strlen(first)) == 0)
			h->merge = history_operator(line + strlen(first));
		if (!h->merge)
			die("%s: line 1 is not \"history\" and a merge "
			    "operator",
			    path);
		return;
	}
	op = op_parse(line, why, sizeof(why));
	if (!op)
		die("%s: line %zu: %s", path, number, why);
	history_add(h, op);
}

void history_read(struct history *h, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0, number = 0;
	ssize_t len;

	if (!f)
		die("%s cannot be opened", path);
	while ((len = getline(&line, &cap, f)) >= 0) {
		number++;
		if (len && line[len - 1] == '\n')
			line[--len] = '\0';
		read_line(h, path, number, line);
	}
	free(line);
	if (ferror(f))
		die("%s cannot be read", path);
	fclose(f);
	if (!h->merge)
		die("%s is empty", path);
}
