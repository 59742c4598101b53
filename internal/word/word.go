// Package word has the words of the memory that processes share. They are those of
// sync/atomic and cost nothing more.
//
// With the build tag killpoints they stop before and after every store, and call
// what a test has given to Watch. So a process can be made to die, or to be stopped,
// at each moment between two things that others can see of it: what is right at all
// of these moments is right whenever a process is killed. A store through these types
// is such a moment without more ado; nothing marks it. System calls whose effect
// others see are put between BeforeCall and AfterCall.
//
// Only words that lie in shared memory have these types. What belongs to one
// process is gone with it, and uses sync/atomic.
package word
