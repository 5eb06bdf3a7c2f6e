/* SPDX-License-Identifier: BSD-3-Clause */
#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/env.h>
#include <leveldb/filter_policy.h>
#include <leveldb/options.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "tests/bench/peer.h"

using leveldb::Slice;
using leveldb::Status;

namespace
{

/*
 * LevelDB does not tell whether it is at rest. It schedules each piece of
 * background work from within the one before, so counting these does.
 */
class CountingEnv : public leveldb::EnvWrapper
{
      public:
	CountingEnv() : leveldb::EnvWrapper(leveldb::Env::Default())
	{
	}

	void Schedule(void (*work)(void *), void *arg) override
	{
		pending++;
		target()->Schedule(run, new Work{ this, work, arg });
	}

	std::atomic<int> pending{ 0 };

      private:
	struct Work {
		CountingEnv *env;
		void (*work)(void *);
		void *arg;
	};

	static void run(void *arg)
	{
		auto *w = static_cast<Work *>(arg);

		w->work(w->arg);
		w->env->pending--;
		delete w;
	}
};

struct Store {
	CountingEnv env;
	std::unique_ptr<leveldb::Cache> cache;
	std::unique_ptr<const leveldb::FilterPolicy> filter;
	leveldb::WriteOptions write_options;
	leveldb::ReadOptions read_options;
	leveldb::DB *db = nullptr;
};

int check(const Status &s)
{
	if (s.ok())
		return 0;
	fprintf(stderr, "leveldb: %s\n", s.ToString().c_str());
	return 1;
}

Store *store_of(void *db)
{
	return static_cast<Store *>(db);
}

leveldb::Iterator *iter_of(void *iter)
{
	return static_cast<leveldb::Iterator *>(iter);
}

Slice slice(bench_slice s)
{
	return Slice(s.data, s.len);
}

bench_slice unslice(const Slice &s)
{
	return bench_slice{ s.data(), s.size() };
}

int peer_open(const char *dir, const bench_budget *b, void **db)
{
	Store *st = new Store;
	leveldb::Options o;
	Status s;

	st->cache.reset(leveldb::NewLRUCache(b->cache));
	if (b->bloom_bits)
		st->filter.reset(leveldb::NewBloomFilterPolicy(b->bloom_bits));
	st->write_options.sync = b->sync;
	/* As the others do without being asked. */
	st->read_options.verify_checksums = true;
	o.create_if_missing = true;
	o.env = &st->env;
	o.write_buffer_size = b->write_buffer;
	o.block_cache = st->cache.get();
	o.filter_policy = st->filter.get();
	o.compression = b->compress ? leveldb::kSnappyCompression
				    : leveldb::kNoCompression;
	s = leveldb::DB::Open(o, dir, &st->db);
	*db = st;
	return check(s);
}

int peer_close(void *db)
{
	delete store_of(db)->db;
	delete store_of(db);
	return 0;
}

int client_new(void *, void **client)
{
	*client = new std::string;
	return 0;
}

void client_free(void *, void *client)
{
	delete static_cast<std::string *>(client);
}

int put(void *db, bench_slice key, bench_slice value)
{
	Store *st = store_of(db);

	return check(st->db->Put(st->write_options, slice(key), slice(value)));
}

/* It copies into a string itself: that is the copy. */
int get(void *db, void *client, bench_slice key, char *value, size_t cap,
	size_t *len, bool *found)
{
	Store *st = store_of(db);
	auto *copy = static_cast<std::string *>(client);
	Status s = st->db->Get(st->read_options, slice(key), copy);

	*found = s.ok();
	if (s.IsNotFound())
		return 0;
	if (!s.ok())
		return check(s);
	*len = copy->size() < cap ? copy->size() : cap;
	memcpy(value, copy->data(), *len);
	return 0;
}

int iter_new(void *db, void *, void **iter)
{
	Store *st = store_of(db);

	*iter = st->db->NewIterator(st->read_options);
	return 0;
}

int iter_free(void *iter)
{
	int err = check(iter_of(iter)->status());

	delete iter_of(iter);
	return err;
}

bool first(void *iter)
{
	iter_of(iter)->SeekToFirst();
	return iter_of(iter)->Valid();
}

bool last(void *iter)
{
	iter_of(iter)->SeekToLast();
	return iter_of(iter)->Valid();
}

bool seek(void *iter, bench_slice key)
{
	iter_of(iter)->Seek(slice(key));
	return iter_of(iter)->Valid();
}

bool next(void *iter)
{
	iter_of(iter)->Next();
	return iter_of(iter)->Valid();
}

bool prev(void *iter)
{
	iter_of(iter)->Prev();
	return iter_of(iter)->Valid();
}

bench_slice iter_key(void *iter)
{
	return unslice(iter_of(iter)->key());
}

bench_slice iter_value(void *iter)
{
	return unslice(iter_of(iter)->value());
}

int settle(void *db)
{
	Store *st = store_of(db);
	/* A range behind all keys: only the memtable gets written. */
	Slice behind("\xff\xff\xff\xff");

	st->db->CompactRange(&behind, &behind);
	while (st->env.pending)
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	return 0;
}

} // namespace

extern "C" const struct bench_peer bench_peer = {
	"leveldb", peer_open, peer_close, client_new, client_free, put,
	get,       iter_new,  iter_free,  first,      last,        seek,
	next,      prev,      iter_key,   iter_value, settle,
};
