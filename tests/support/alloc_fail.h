/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The k-th allocation fails, in a program that includes this once and is
 * linked with $(alloc_fail_ldflags), which let the linker send the calls of all
 * that is linked in statically, so all code of ours, through here. Unlike
 * replacing malloc() this works under the sanitizers as well. What libraries
 * allocate for themselves does not come by; threads, mappings and zstd's
 * contexts are counted as allocations where our code asks for them.
 *
 * What is allocated and not freed is counted, too, so that a leak is known with
 * the k that makes it.
 */
#ifndef CAIRN_TESTS_SUPPORT_ALLOC_FAIL_H
#define CAIRN_TESTS_SUPPORT_ALLOC_FAIL_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>
#ifdef __GLIBC__
#include <execinfo.h>
#endif

#include "tests/support/check.h"

/* No run takes as long, however busy the machine is. */
#define ALLOC_FAIL_SECONDS_MAX 300

/* Whose allocations count, and how many of them fail. */
static const struct alloc_fail_mode {
	const char *name;
	bool mine;   /* those of the thread that armed it, or of all others */
	bool sticky; /* all from the k-th on */
} alloc_fail_modes[] = {
	{ "once", true, false },
	{ "and-on", true, true },
	{ "others-once", false, false },
	{ "others-and-on", false, true },
};
#define ALLOC_FAIL_MODES 4
/* Where only one thread allocates. */
#define ALLOC_FAIL_MODES_MINE 2

static struct {
	const struct alloc_fail_mode *mode;
	uint64_t k; /* counted from 1; 0: none fails */
	_Atomic bool on;
	bool trace;
	_Atomic uint64_t n;    /* that counted */
	_Atomic uint64_t hits; /* that failed */
	_Atomic int64_t live;
	char what[160]; /* the case at hand, for people */
} alloc_fail = { .mode = alloc_fail_modes };

static _Thread_local bool alloc_fail_mine;
static _Thread_local unsigned alloc_fail_paused;

/* From here on allocations count, and the k-th fails. */
static inline void alloc_fail_arm(void)
{
	alloc_fail_mine = true;
	alloc_fail_paused = 0;
	atomic_store(&alloc_fail.n, 0);
	atomic_store(&alloc_fail.hits, 0);
	atomic_store(&alloc_fail.on, true);
}

/* None fails any more. */
static inline void alloc_fail_disarm(void)
{
	atomic_store(&alloc_fail.on, false);
}

/* Whether one has failed. */
static inline bool alloc_fail_hit(void)
{
	return atomic_load(&alloc_fail.hits) > 0;
}

/* Between these the calling thread's neither fail nor count. */
static inline void alloc_fail_pause(void)
{
	alloc_fail_paused++;
}

static inline void alloc_fail_go_on(void)
{
	alloc_fail_paused--;
}

/* Allocated and not yet freed, since the program began. */
static inline int64_t alloc_fail_live(void)
{
	return atomic_load(&alloc_fail.live);
}

/* ----------------------------------------------------------- the functions */

static inline void alloc_fail_trace(uint64_t n)
{
#ifdef __GLIBC__
	void *at[32];

	fprintf(stderr, "allocation %llu fails:\n", (unsigned long long)n);
	backtrace_symbols_fd(at, backtrace(at, 32), 2);
#else
	fprintf(stderr, "allocation %llu fails\n", (unsigned long long)n);
#endif
}

static inline bool alloc_fail_now(void)
{
	uint64_t n;

	if (!atomic_load(&alloc_fail.on) || alloc_fail_paused ||
	    alloc_fail_mine != alloc_fail.mode->mine)
		return false;
	n = atomic_fetch_add(&alloc_fail.n, 1) + 1;
	if (!alloc_fail.k ||
	    (alloc_fail.mode->sticky ? n < alloc_fail.k : n != alloc_fail.k))
		return false;
	atomic_fetch_add(&alloc_fail.hits, 1);
	if (alloc_fail.trace)
		alloc_fail_trace(n);
	errno = ENOMEM;
	return true;
}

static inline void *alloc_fail_got(void *p)
{
	if (p)
		atomic_fetch_add(&alloc_fail.live, 1);
	return p;
}

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void __real_free(void *p);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
ZSTD_DDict *__real_ZSTD_createDDict(const void *data, size_t len);

void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void __wrap_free(void *p);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
ZSTD_DDict *__wrap_ZSTD_createDDict(const void *data, size_t len);

void *__wrap_malloc(size_t len)
{
	return alloc_fail_now() ? NULL : alloc_fail_got(__real_malloc(len));
}

void *__wrap_calloc(size_t n, size_t len)
{
	return alloc_fail_now() ? NULL : alloc_fail_got(__real_calloc(n, len));
}

void *__wrap_realloc(void *p, size_t len)
{
	bool is_new = !p;

	if (alloc_fail_now())
		return NULL;
	p = __real_realloc(p, len);
	return is_new ? alloc_fail_got(p) : p;
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
	if (alloc_fail_now())
		return NULL;
	return alloc_fail_got(__real_aligned_alloc(align, len));
}

char *__wrap_strdup(const char *s)
{
	return alloc_fail_now() ? NULL : alloc_fail_got(__real_strdup(s));
}

char *__wrap_strndup(const char *s, size_t n)
{
	return alloc_fail_now() ? NULL : alloc_fail_got(__real_strndup(s, n));
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (alloc_fail_now()) {
		/* What it is then is not said, so let it not be used. */
		memset(out, 0x5a, sizeof(*out));
		return -1;
	}
	va_start(ap, fmt);
	n = vasprintf(out, fmt, ap);
	va_end(ap);
	if (n >= 0)
		alloc_fail_got(*out);
	return n;
}

void __wrap_free(void *p)
{
	if (p)
		atomic_fetch_sub(&alloc_fail.live, 1);
	__real_free(p);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t off)
{
	if (alloc_fail_now())
		return MAP_FAILED;
	return __real_mmap(addr, len, prot, flags, fd, off);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	/* As the C library says that there was no memory. */
	if (alloc_fail_now())
		return EAGAIN;
	return __real_pthread_create(t, attr, fn, arg);
}

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
	return alloc_fail_now() ? NULL : __real_ZSTD_createCCtx();
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
	return alloc_fail_now() ? NULL : __real_ZSTD_createDCtx();
}

ZSTD_DDict *__wrap_ZSTD_createDDict(const void *data, size_t len)
{
	return alloc_fail_now() ? NULL : __real_ZSTD_createDDict(data, len);
}

/* ---------------------------------------------------------------- the loop */

static inline void alloc_fail_say(void)
{
	ssize_t n = write(2, alloc_fail.what, strlen(alloc_fail.what));

	(void)n;
}

static inline void alloc_fail_died(int sig)
{
	alloc_fail_say();
	signal(sig, SIG_DFL);
	raise(sig);
}

#ifdef __SANITIZE_ADDRESS__
void __asan_on_error(void);
void __asan_on_error(void)
{
	alloc_fail_say();
}
#endif

/* One run, where the k-th allocation of name in a mode fails. */
static inline void alloc_fail_run(const char *name, uint64_t k,
				  void (*run)(void *ctx), void *ctx)
{
	alloc_fail.k = k;
	snprintf(alloc_fail.what, sizeof(alloc_fail.what),
		 "\nCK_RUN_CASE='%s' CAIRN_ALLOC=%s:%llu CAIRN_ALLOC_TRACE=1\n",
		 name, alloc_fail.mode->name, (unsigned long long)k);
	signal(SIGABRT, alloc_fail_died);
	signal(SIGALRM, alloc_fail_died);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	signal(SIGSEGV, alloc_fail_died);
	signal(SIGBUS, alloc_fail_died);
#endif
	alarm(ALLOC_FAIL_SECONDS_MAX);
	run(ctx);
	alarm(0);
}

/* As ck_assert_msg(), but allocates nothing while it holds. */
#define must(cond, ...)                                                        \
	do {                                                                   \
		if (!(cond)) {                                                 \
			alloc_fail_disarm();                                   \
			alloc_fail_say();                                      \
			ck_abort_msg(__VA_ARGS__);                             \
		}                                                              \
	} while (0)

/*
 * Call run, which arms and disarms, for k = 1, 2, ... until nothing failed. By
 * default that is some of all k, evenly spread, where CAIRN_SEED says where it
 * begins; with CAIRN_ALLOC=full in the environment it is all of them, and with
 * CAIRN_ALLOC=MODE:K that one only. The test case must be called name, so that
 * what is printed when a run fails shows it again.
 */
static inline void alloc_fail_loop(const char *name, int mode, unsigned some,
				   void (*run)(void *ctx), void *ctx)
{
	const char *how = getenv("CAIRN_ALLOC");
	const char *seed = getenv("CAIRN_SEED");
	size_t len = strlen(alloc_fail_modes[mode].name);
	uint64_t all, step, tried = 0, k;

	alloc_fail.mode = &alloc_fail_modes[mode];
	alloc_fail.trace = getenv("CAIRN_ALLOC_TRACE") != NULL;
	if (how && strcmp(how, "full") != 0) {
		if (strncmp(how, alloc_fail.mode->name, len) == 0 &&
		    how[len] == ':')
			alloc_fail_run(name, strtoull(how + len + 1, NULL, 10),
				       run, ctx);
		return;
	}
	alloc_fail_run(name, 0, run, ctx);
	all = atomic_load(&alloc_fail.n);
	step = how || all < some ? 1 : all / some;
	k = 1;
	if (step > 1)
		k += (seed ? strtoull(seed, NULL, 10) : 1) * 7919 % step;
	/* Other threads do not always get as far. */
	for (; alloc_fail_run(name, k, run, ctx), alloc_fail_hit() || k < all;
	     k += step)
		tried += alloc_fail_hit();
	/* The line for scripts/campaign, which adds it up. */
	printf("%s %s: of about %llu\ncount failed-allocations %llu\n", name,
	       alloc_fail.mode->name, (unsigned long long)all,
	       (unsigned long long)tried);
	fflush(stdout);
}

#endif
