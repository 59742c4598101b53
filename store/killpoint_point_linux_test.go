//go:build killpoints

package store_test

import (
	"regexp"
	"strings"

	"github.com/sharekv/sharekv/internal/word"
)

// plumbing is what many go through: the point is another one for each of them.
var plumbing = regexp.MustCompile(`\.(ignoringEINTR|writeAt|setLock|(tryLock|unlock)Bytes|tryShareByte|anyLocked|allocate|flushAll|` +
	`enterGate|waitLock|\(\*areaFile\)\.(tryLock|unlock)|\(\*fileView\)\..*|\(\*Mapping\)\.(Store|Flush|Grow)|` +
	`memberTable\..*|\(\*record\)\.publish|\(\*Store\)\.(flush|writeMeta)|.*func[0-9].*):`)

// nameOf tells points apart as far as they are different moments: by the line of the
// store, or of the system call, and where many have them in common, by who has called.
func nameOf(p word.Point) string {
	calls := strings.Split(p.Calls, " < ")
	for len(calls) > 1 && strings.Contains(calls[0], ".ignoringEINTR:") {
		calls = calls[1:]
	}
	name := p.When + " " + calls[0]
	for i, call := range calls {
		if !plumbing.MatchString(call) {
			if i > 0 {
				name += " < " + call
			}
			break
		}
	}
	return name
}
