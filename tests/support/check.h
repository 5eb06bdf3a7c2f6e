/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check, without what it keeps of each assertion that holds: a message, to tell
 * after which of them a test crashed, read at the end in a time that grows with
 * the square of their number. Loops here assert by the million, and sanitizers
 * and core files tell better.
 */
#ifndef CAIRN_TESTS_SUPPORT_CHECK_H
#define CAIRN_TESTS_SUPPORT_CHECK_H

#include <check.h>

#define _mark_point(file, line) ((void)0)

#endif
