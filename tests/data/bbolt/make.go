// SPDX-License-Identifier: BSD-3-Clause

// make DIRECTORY: writes the *.db files of this folder with bbolt itself, and
// beside each what bbolt says it holds, as NAME.tsv (see README.md).
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func put(b *bolt.Bucket, key, value string) {
	check(b.Put([]byte(key), []byte(value)))
}

func bucket(b *bolt.Bucket, name string) *bolt.Bucket {
	sub, err := b.CreateBucketIfNotExists([]byte(name))
	check(err)
	return sub
}

func top(tx *bolt.Tx, name string) *bolt.Bucket {
	b, err := tx.CreateBucketIfNotExists([]byte(name))
	check(err)
	return b
}

// One line for each item, in the order of bbolt's cursor.
func list(out *os.File, path []string, b *bolt.Bucket) {
	at := strings.Join(path, "/")
	check(b.ForEach(func(k, v []byte) error {
		if v != nil {
			fmt.Fprintf(out, "%s\t%x\t=%x\n", at, k, v)
			return nil
		}
		sub := b.Bucket(k)
		fmt.Fprintf(out, "%s\t%x\t#%d\n", at, k, sub.Sequence())
		list(out, append(append([]string{}, path...), fmt.Sprintf("%x", k)), sub)
		return nil
	}))
}

func write(dir, name string, steps ...func(tx *bolt.Tx)) {
	path := filepath.Join(dir, name+".db")
	os.Remove(path)
	db, err := bolt.Open(path, 0644, &bolt.Options{
		PageSize: 1024, InitialMmapSize: 1 << 20, NoGrowSync: true})
	check(err)
	db.AllocSize = 1024
	for _, step := range steps {
		check(db.Update(func(tx *bolt.Tx) error { step(tx); return nil }))
	}
	out, err := os.Create(filepath.Join(dir, name+".tsv"))
	check(err)
	check(db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			log.Fatal(err)
		}
		return tx.ForEach(func(k []byte, b *bolt.Bucket) error {
			fmt.Fprintf(out, "\t%x\t#%d\n", k, b.Sequence())
			list(out, []string{fmt.Sprintf("%x", k)}, b)
			return nil
		})
	}))
	check(out.Close())
	check(db.Close())
}

func main() {
	dir := os.Args[1]

	// Every kind of page and bucket in as few bytes as can be.
	write(dir, "small", func(tx *bolt.Tx) {
		top(tx, "empty")
		in := top(tx, "inline")
		put(in, "a", "1")
		put(in, "b", "")
		check(in.SetSequence(7))
		for i := 0; i < 60; i++ {
			put(top(tx, "tree"), fmt.Sprintf("key-%03d", i), fmt.Sprintf("value %d", i))
		}
		put(top(tx, "wide"), "w", strings.Repeat("wide ", 300))
		nest := top(tx, "nest")
		put(nest, "leaf", "between buckets")
		put(bucket(bucket(nest, "one"), "two"), "deep", "down")
	})

	write(dir, "empty", func(tx *bolt.Tx) {})

	// Three levels, keys that are no text, pages that were freed and used again.
	write(dir, "large", func(tx *bolt.Tx) {
		for i := 0; i < 400; i++ {
			put(top(tx, "tree"), fmt.Sprintf("%08d-%s", i*7919%400, strings.Repeat("k", i%40)),
				strings.Repeat("v", i%90))
		}
		put(top(tx, "big"), "big", strings.Repeat("0123456789", 400))
	}, func(tx *bolt.Tx) {
		for i := 0; i < 400; i += 2 {
			check(top(tx, "tree").Delete([]byte(
				fmt.Sprintf("%08d-%s", i*7919%400, strings.Repeat("k", i%40)))))
		}
	}, func(tx *bolt.Tx) {
		for i := 0; i < 256; i += 3 {
			put(top(tx, "bytes"), string([]byte{byte(i), 0, byte(255 - i)}), string([]byte{byte(i)}))
			put(top(tx, "bytes"), string([]byte{byte(i)}), "")
		}
		for i := 0; i < 24; i++ {
			b := bucket(top(tx, "buckets"), fmt.Sprintf("b%02d", i))
			for k := 0; k < i; k++ {
				put(b, fmt.Sprintf("%d", k), fmt.Sprintf("%d in %d", k, i))
			}
		}
	})
}
