/* SPDX-License-Identifier: BSD-3-Clause */
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/bench/peer.h"

using rocksdb::Slice;
using rocksdb::Status;

namespace
{

struct Store {
	rocksdb::DB *db = nullptr;
	rocksdb::WriteOptions write_options;
};

int check(const Status &s)
{
	if (s.ok())
		return 0;
	fprintf(stderr, "rocksdb: %s\n", s.ToString().c_str());
	return 1;
}

Store *store_of(void *db)
{
	return static_cast<Store *>(db);
}

rocksdb::DB *db_of(void *db)
{
	return store_of(db)->db;
}

rocksdb::Iterator *iter_of(void *iter)
{
	return static_cast<rocksdb::Iterator *>(iter);
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
	rocksdb::BlockBasedTableOptions table;
	rocksdb::Options o;
	Store *st = new Store;
	Status s;

	o.create_if_missing = true;
	o.write_buffer_size = b->write_buffer;
	o.max_write_buffer_number = b->write_buffers;
	/* One flush and so many compactions; its formula gives a quarter of
	 * the jobs to flushes, so name both. */
	o.max_background_flushes = 1;
	o.max_background_compactions = b->compactions;
	o.compression = b->compress ? rocksdb::kSnappyCompression
				    : rocksdb::kNoCompression;
	table.block_cache = rocksdb::NewLRUCache(b->cache);
	if (b->bloom_bits)
		table.filter_policy.reset(
			rocksdb::NewBloomFilterPolicy(b->bloom_bits));
	o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
	st->write_options.sync = b->sync;
	s = rocksdb::DB::Open(o, dir, &st->db);
	*db = st;
	return check(s);
}

int peer_close(void *db)
{
	Status s = db_of(db)->Close();

	delete db_of(db);
	delete store_of(db);
	return check(s);
}

int client_new(void *, void **client)
{
	*client = new rocksdb::PinnableSlice;
	return 0;
}

void client_free(void *, void *client)
{
	delete static_cast<rocksdb::PinnableSlice *>(client);
}

int put(void *db, bench_slice key, bench_slice value)
{
	Store *st = store_of(db);

	return check(st->db->Put(st->write_options, slice(key), slice(value)));
}

int get(void *db, void *client, bench_slice key, char *value, size_t cap,
	size_t *len, bool *found)
{
	auto *p = static_cast<rocksdb::PinnableSlice *>(client);
	rocksdb::DB *d = db_of(db);
	Status s = d->Get(rocksdb::ReadOptions(), d->DefaultColumnFamily(),
			  slice(key), p);

	*found = s.ok();
	if (s.IsNotFound())
		return 0;
	if (!s.ok())
		return check(s);
	*len = p->size() < cap ? p->size() : cap;
	memcpy(value, p->data(), *len);
	p->Reset();
	return 0;
}

int iter_new(void *db, void *, void **iter)
{
	*iter = db_of(db)->NewIterator(rocksdb::ReadOptions());
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

bool is_busy(rocksdb::DB *d)
{
	static const char *const work[] = {
		"rocksdb.num-running-flushes",
		"rocksdb.mem-table-flush-pending",
		"rocksdb.num-running-compactions",
		"rocksdb.compaction-pending",
	};

	for (const char *name : work) {
		uint64_t n = 0;

		if (d->GetIntProperty(name, &n) && n)
			return true;
	}
	return false;
}

int settle(void *db)
{
	rocksdb::DB *d = db_of(db);
	Status s = d->Flush(rocksdb::FlushOptions());

	/* A finished compaction may schedule another a moment later. */
	for (int quiet = 0; s.ok() && quiet < 5;) {
		quiet = is_busy(d) ? 0 : quiet + 1;
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
	return check(s);
}

} // namespace

extern "C" const struct bench_peer bench_peer = {
	"rocksdb", peer_open, peer_close, client_new, client_free, put,
	get,       iter_new,  iter_free,  first,      last,        seek,
	next,      prev,      iter_key,   iter_value, settle,
};
