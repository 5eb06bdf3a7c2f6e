#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs a real etcd on the loopback, gives it a seeded history, and writes down
what it says it holds.

  etcd.py small FILE.db FILE.tsv       leases, compaction, a snapshot
  etcd.py member FILE.db FILE.tsv      a stopped member's file, never compacted
  etcd.py large FILE.db FILE.tsv [N]   N (10000) keys with history, a snapshot

What a line of the tsv says is told in tests/data/etcd/README.md. Before it is
written, the events are replayed, and the result compared with etcd's own
answers at each revision (large: at some).
"""
import base64
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def b64(b):
    return base64.b64encode(b).decode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Etcd:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="cairn-etcd-")
        self.url = "http://127.0.0.1:%d" % free_port()
        peer = "http://127.0.0.1:%d" % free_port()
        self.log = open(os.path.join(self.dir, "log"), "w")
        self.proc = subprocess.Popen(
            ["etcd", "--name", "m", "--data-dir", self.dir + "/data",
             "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", "m=" + peer, "--log-level", "error"],
            stdout=self.log, stderr=self.log)
        self.http = None
        for _ in range(200):
            try:
                self.call("kv/range", {"key": b64(b"x")})
                return
            except (OSError, http.client.HTTPException):
                self.http = None
                time.sleep(0.1)
        self.stop()
        sys.exit("etcd.py: etcd does not answer; its log is in " + self.dir)

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.url[7:], timeout=timeout)

    def call(self, path, body):
        if not self.http:
            self.http = self.connect()
        self.http.request("POST", "/v3/" + path, json.dumps(body))
        r = self.http.getresponse()
        text = r.read()
        if r.status != 200:
            raise RuntimeError("%s: %s" % (path, text.decode()))
        return json.loads(text)

    def ctl(self, *args):
        env = dict(os.environ, ETCDCTL_API="3")
        return subprocess.run(["etcdctl", "--endpoints", self.url, *args], env=env,
                              check=True, capture_output=True).stdout

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait()

    def remove(self):
        self.stop()
        self.log.close()
        shutil.rmtree(self.dir)

    # ------------------------------------------------------------- requests

    def put(self, key, value=b"", lease=0):
        return self.call("kv/put", {"key": b64(key), "value": b64(value), "lease": lease})

    def delete(self, key, end=b""):
        return self.call("kv/deleterange", {"key": b64(key), "range_end": b64(end)})

    def txn(self, ops):
        return self.call("kv/txn", {"success": ops})

    def grant(self, lease, ttl):
        self.call("lease/grant", {"ID": lease, "TTL": ttl})

    def compact(self, rev):
        self.call("kv/compaction", {"revision": rev, "physical": True})

    def current(self):
        return int(self.call("kv/range", {"key": b64(b"x")})["header"]["revision"])

    def range_at(self, rev):
        """{key: (create, mod, version, lease, value)}"""
        r = self.call("kv/range", {"key": b64(b"\0"), "range_end": b64(b"\0"),
                                   "revision": rev})
        return {base64.b64decode(kv["key"]): row_of(kv) for kv in r.get("kvs", [])}

    def events(self, start, last):
        """(main, sub, key, row or None), all from start to last."""
        h = self.connect()
        h.request("POST", "/v3/watch", json.dumps({"create_request": {
            "key": b64(b"\0"), "range_end": b64(b"\0"), "start_revision": start}}))
        r = h.getresponse()
        out, main, sub = [], 0, 0
        while main < last:
            answer = json.loads(r.readline())["result"]
            if answer.get("canceled"):
                raise RuntimeError("watch: %s" % answer)
            for e in answer.get("events", []):
                kv = e["kv"]
                m = int(kv["mod_revision"])
                sub = sub + 1 if m == main else 0
                main = m
                out.append((main, sub, base64.b64decode(kv["key"]),
                            None if e.get("type") == "DELETE" else row_of(kv)))
        h.close()
        return out

    def hash_at(self, rev):
        out = self.ctl("endpoint", "hashkv", "--rev", str(rev), "-w", "json")
        return json.loads(out)[0]["HashKV"]["hash"]

    def leases(self):
        """{id: (ttl, keys)}"""
        out = {}
        for l in self.call("lease/leases", {}).get("leases", []):
            t = self.call("lease/timetolive", {"ID": l["ID"], "keys": True})
            out[int(l["ID"])] = (int(t["grantedTTL"]),
                                 sorted(base64.b64decode(k) for k in t.get("keys", [])))
        return out


def row_of(kv):
    return (int(kv["create_revision"]), int(kv["mod_revision"]), int(kv["version"]),
            int(kv.get("lease", 0)), base64.b64decode(kv.get("value", "")))


def op_put(key, value=b"", lease=0):
    return {"request_put": {"key": b64(key), "value": b64(value), "lease": lease}}


def op_delete(key, end=b""):
    return {"request_delete_range": {"key": b64(key), "range_end": b64(end)}}


# ---------------------------------------------------------------- histories

def small(e):
    """-> the revision compacted to"""
    r = random.Random(5)
    keys = [b"app/%d/name" % i for i in range(12)]
    keys += [b"a", b"a/", b"a\0", b"a\0\0", b"a\0b", b"a\x01", b"\0", b"\xff", b"\xff\xff",
             b"\0\xff", "schl\u00fcssel".encode(), b"long/" + b"k" * 300]
    for lease, ttl in ((0x1234, 3600), (7, 6000), (2**62 + 1, 9000000000), (99, 1000)):
        e.grant(lease, ttl)
    for i, key in enumerate(keys):
        e.put(key, b"first %d" % i, (0, 7, 0x1234)[i % 3])
    def changes(n):
        for i in range(n):
            key = r.choice(keys)
            if r.random() < 0.2:
                e.delete(key)
            else:
                e.put(key, r.randbytes(r.choice((0, 1, 20, 200))), r.choice((0, 0, 7, 99)))

    changes(60)
    e.delete(b"app/", b"app0")
    e.put(b"deleted at the bound", b"gone")
    # Long ago for whoever reads at the bound, but not yet for a watch from it.
    e.delete(b"deleted at the bound")
    bound = e.current()
    e.compact(bound - 20)
    e.compact(bound)
    changes(60)
    e.call("lease/revoke", {"ID": 99})
    for i in range(8):
        ops, used = [], set()
        for _ in range(r.randrange(2, 9)):
            key = r.choice(keys)
            if key in used:
                continue
            used.add(key)
            ops.append(op_delete(key) if r.random() < 0.2 else
                       op_put(key, b"txn %d" % i, r.choice((0, 7, 0x1234))))
        e.txn(ops)
    # More than one piece, ended by a put, by a tombstone, and not at all.
    e.put(b"large/a", r.randbytes(5000))
    e.put(b"large/b", r.randbytes(3000))
    e.put(b"large/a", r.randbytes(4096))
    e.delete(b"large/b")
    # Put and deleted in one revision: etcd takes this end for an empty range.
    e.txn([op_put(b"\xff\xff\xff", b"short"), op_delete(b"\xff\xff\xff", b"\0")])
    e.put(b"a", b"last", 0x1234)
    return bound


def member(e):
    for i in range(5):
        e.put(b"key", b"%d" % i)
    e.delete(b"key")
    e.put(b"key", b"again")
    e.put(b"other")
    e.call("auth/user/add", {"name": "who", "password": "what"})
    return 0


def large(e, n):
    r = random.Random(6)
    e.grant(1, 3600)
    keys = [b"%s/%05d" % (r.choice((b"etc", b"registry/pods", b"x")), i) for i in range(n)]
    bound = 0
    r.shuffle(keys)
    for step in range(3):
        chosen = keys if step == 0 else r.sample(keys, n * 2 // 3)
        for at in range(0, len(chosen), 100):
            e.txn([op_delete(k) if step and r.random() < 0.1 else
                   op_put(k, r.randbytes(r.randrange(120)), int(r.random() < 0.05))
                   for k in chosen[at:at + 100]])
        if step == 1:
            bound = e.current() - 10
            e.compact(bound)
    e.put(b"large", r.randbytes(1000000))
    e.put(b"large", r.randbytes(300000))
    return bound


# ------------------------------------------------------------------- output

def note(e, bound, path, sparse):
    last = e.current()
    first = bound or 1
    state = e.range_at(first) if bound else {}
    events = e.events(bound or 2, last)
    with open(path, "w") as out:
        print("current", last, sep="\t", file=out)
        print("compact", bound, sep="\t", file=out)
        for lease, (ttl, keys) in sorted(e.leases().items()):
            print("lease", lease, ttl, sep="\t", file=out)
            for k in keys:
                print("attached", lease, k.hex(), sep="\t", file=out)
        for k, (create, mod, version, lease, value) in sorted(state.items()):
            print("base", k.hex(), create, mod, version, lease, value.hex(), sep="\t", file=out)
        for main, sub, k, row in events:
            if main == bound:
                sub = -1  # tombstones at the bound are gone, and not counted
            if row is None:
                print("del", main, sub, k.hex(), sep="\t", file=out)
            else:
                print("put", main, sub, k.hex(), row[0], row[2], row[3], row[4].hex(),
                      sep="\t", file=out)
        revs = range(bound + 1, last + 1) if bound else range(1, last + 1)
        for rev in revs:
            if rev == last or rev % sparse == 0:
                print("hash", rev, e.hash_at(rev), sep="\t", file=out)
    at = 0
    for rev in range(first, last + 1):
        while at < len(events) and events[at][0] <= rev:
            _, _, k, row = events[at]
            if row is None:
                state.pop(k, None)
            else:
                state[k] = row
            at += 1
        if (rev == last or rev % sparse == 0) and e.range_at(rev) != state:
            sys.exit("etcd.py: the events do not make what etcd has at revision %d" % rev)


def main():
    kind, db, tsv = sys.argv[1:4]
    e = Etcd()
    try:
        if kind == "large":
            bound = large(e, int(sys.argv[4]) if len(sys.argv) > 4 else 10000)
        else:
            bound = {"small": small, "member": member}[kind](e)
        note(e, bound, tsv, 50 if kind == "large" else 1)
        if kind == "member":
            e.stop()
            shutil.copyfile(e.dir + "/data/member/snap/db", db)
        else:
            if kind == "small":
                e.ctl("defrag")
            e.ctl("snapshot", "save", db)
    finally:
        e.remove()


main()
