package txn_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/soak"
)

// images counts what crashes have left and was looked at, in all tests.
var images atomic.Int64

func TestMain(m *testing.M) {
	code := m.Run()
	if testing.Verbose() || thorough() {
		fmt.Printf("%d crash images\n", images.Load())
	}
	os.Exit(code)
}

// counted logs how many images a test has looked at.
func counted(t *testing.T) {
	before := images.Load()
	t.Cleanup(func() { t.Logf("%d images", images.Load()-before) })
}

func thorough() bool { return os.Getenv("SHAREKV_TEST") != "" }

// kept returns fn, whose values are made once and not to be changed.
func kept[T any](fn func(n int) T) func(n int) T {
	var values sync.Map
	return func(n int) T {
		v, ok := values.Load(n)
		if !ok {
			v, _ = values.LoadOrStore(n, fn(n))
		}
		return v.(T)
	}
}

// remembered returns what a store holds after n commits of the changes that ops returns.
// It is not to be changed.
func remembered(ops func(n int) []op) func(n int) map[string]string {
	var mu sync.Mutex
	all := []map[string]string{{}}
	return func(n int) map[string]string {
		mu.Lock()
		defer mu.Unlock()
		for len(all) <= n {
			next := maps.Clone(all[len(all)-1])
			for _, o := range ops(len(all)) {
				next[o.key] = o.value
			}
			maps.DeleteFunc(next, func(_, v string) bool { return v == "" })
			all = append(all, next)
		}
		return all[n]
	}
}

// The tests of crashes, again and again with other seeds, for as long as a soak is to take.
func TestCrashesInASoak(t *testing.T) {
	duration := soak.Duration(t)
	if duration == 0 {
		t.Skip("SHAREKV_TEST=soak runs it for SHAREKV_SOAK=30m")
	}
	tests := []struct {
		name string
		run  func(*testing.T)
		runs int
		seen int64
	}{
		{name: "PowerCutAnywhere", run: TestStoreOpensAtTheLastCommitAfterAPowerCutAnywhere},
		{name: "DeathOfAllAndPowerCut", run: TestStoreOpensAfterAllProcessesDiedAndThenPowerFails},
		{name: "DeathOfAWriter", run: TestNextWriterOverwritesNothingThatADeadOneMayHaveMadeDurable},
		{name: "NewestMetaPageDamaged", run: TestStoreOpensAtTheCommitBeforeIfTheNewestMetaPageIsDamaged},
		{name: "LastCommitDamaged", run: TestDamageToTheLastCommitIsTheOneBeforeOrAnError},
		{name: "OtherMetaPage", run: TestOtherMetaPageCanBeReliedOnWhileAWriterStores},
		{name: "OlderVersionOfAPage", run: TestOlderVersionOfAPageOfTheSameTransactionIsNoticed},
		{name: "BigCommit", run: TestPowerCutInABigCommit},
		{name: "DeathOfTheLeader", run: TestDeathOfTheLeaderAnywhereKeepsNobodyFromCommitting},
		{name: "FlushFailedUnseen", run: TestFlushThatFailedUnseenLosesNothing},
		{name: "WriterDiesInFailedFlush", run: TestWriterThatDiesInAFailedFlushMakesPublishedCommitsSuspect},
		{name: "LeaderIsTold", run: TestLeaderIsToldOfADeadWritersFailedFlush},
		{name: "NextWriterFromTheHead", run: TestNextWriterGoesOnFromTheHeadAfterADeath},
		{name: "CleanMarkAfterADeath", run: TestCleanMarkDoesNotLieAfterTheDeathOfTheLastToCommit},
		{name: "CleanMarkOnlySeen", run: TestCleanMarkThatIsOnlySeenIsNotReliedOn},
		{name: "GroupCommit", run: TestPowerCutInAGroupCommitTakesBackNothingAcknowledged},
		{name: "FailedFlush", run: TestFailedFlushStopsAllProcessesUntilTheyReopen},
		{name: "WriterThatChangesNothing", run: TestWriterThatChangesNothingWaitsForWhatItRead},
		{name: "LongWriterAndReaders", run: TestLongWriterAndReadersWhileDurableMoves},
		{name: "FreeRunning", run: TestPowerCutAmongFreeRunningProcesses},
		{name: "LargeTransaction", run: TestPowerCutWhileALargeTransactionStoresPagesTakesNothingBack},
		{name: "DeathInALargeTransaction", run: TestDeathInALargeTransactionLeavesFreePagesOnly},
		{name: "AsyncMode", run: TestPowerCutInAsyncModeTakesBackWholeCommitsSinceTheLastSync},
		{name: "DeathOfTheLeaderAsync", run: TestDeathOfTheLeaderInAsyncModeMisleadsNobody},
		{name: "Faults", run: TestEveryFailureOfTheDiskIsAnErrorAndLosesNothing},
	}
	for begin := time.Now(); time.Since(begin) < duration; {
		for _, i := range rand.Perm(len(tests)) {
			if time.Since(begin) >= duration {
				break
			}
			x, before := &tests[i], images.Load()
			if !t.Run(x.name, x.run) {
				t.FailNow()
			}
			x.runs++
			x.seen += images.Load() - before
		}
	}
	for _, x := range tests {
		t.Logf("%-26s %5d runs %9d images", x.name, x.runs, x.seen)
	}
}
