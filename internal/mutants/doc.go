// Package mutants proves the tests: it holds wrong variants of the code, and for each the
// test that must fail because of it.
//
// A mutant is a file in testdata. It begins with a line that says what is wrong, and
// names the test that must notice:
//
//	The durable record moves before the flush.
//
//	package: txn
//	test: TestPowerCutInAGroupCommitTakesBackNothingAcknowledged
//	env: SHAREKV_TEST=ci
//	args: -test.short
//	within: 3s
//	-- old txn/sync.go --
//	text that occurs in the file once, within a function
//	-- new --
//	what stands there in the mutant
//
// The last three lines before the change are for tests that need them, and there may be
// several pairs of old and new. The test is repeated until it fails, for 10 seconds at
// most, or as long as the mutant says. One that has run for half of that time, and for
// three times as long as without the mutant, does not end: it has failed, too.
//
// All mutants are woven into one copy of the code, which is what the tests of a package
// are compiled with: a function begins with its mutants, each a copy of the body with the
// change made, and they ask On whether it is their turn. So nothing of them is in the code
// itself, there is one test binary for a package, and that it passes with no mutant on
// shows that it is the mutant that fails.
//
//	go test -tags mutants -v ./internal/mutants
//	go test -tags mutants -v -run TestEveryMutantIsCaught/mutants/wrong-slot ./internal/mutants
//
// The tests are compiled without the assertions of package invariant, which would notice
// some of the mistakes earlier.
//
// A mutant whose old text is not there any more is an error, also of a plain go test.
package mutants
