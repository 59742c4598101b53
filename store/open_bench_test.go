package store_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

func init() { roles["put large"] = putLarge }

// putLarge puts 500 MB in one transaction, in small and large values. It prints
// each megabyte, and then that it commits.
func putLarge(db *store.DB) error {
	return db.Update(func(tx *store.Tx) error {
		for i := range 500 {
			if i%2 == 0 {
				if err := tx.Put(fmt.Append(nil, "large", i), make([]byte, 1<<20)); err != nil {
					return err
				}
			} else {
				for j := range 1 << 10 {
					if err := tx.Put(fmt.Append(nil, "small", rand.Uint64(), j), make([]byte, 1000)); err != nil {
						return err
					}
				}
			}
			fmt.Println(i)
		}
		fmt.Println("commits")
		return nil
	})
}

// A process dies in a transaction of 500 MB: at any time while it puts, or soon after its
// commit has begun.
func BenchmarkOpenAfterACrashInALargeTransaction(b *testing.B) {
	for name, putting := range map[string]bool{"putting": true, "committing": false} {
		b.Run(name, func(b *testing.B) {
			dir := testdir.New(b)
			longest := time.Duration(0)
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				path := filepath.Join(dir, fmt.Sprint(i, ".kv"))
				p := start(b, "put large", path)
				last := "commits"
				if putting {
					last = fmt.Sprint(rand.IntN(500))
				}
				for p.line(b) != last {
				}
				if !putting {
					time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the moment of the kill
				}
				p.Process.Kill()
				p.Wait()
				begin := time.Now()
				b.StartTimer()
				db, err := store.Open(path, &store.Options{MustExist: true})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				longest = max(longest, time.Since(begin))
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/open")
		})
	}
}
