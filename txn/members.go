package txn

import (
	"slices"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
)

// Member is one handle on the store, in this process or another.
type Member struct {
	mmapfile.MemberInfo
	Snapshots []index.TxID // being read through it, ascending, one for each reader
	Writing   bool         // it holds the writer mutex
	Self      bool
}

// Members returns the handles that live. What they do changes while it looks.
func (s *Store) Members() []Member {
	r := s.readers
	snapshots := map[int][]index.TxID{}
	for i := range r.claimed() {
		txid, member := index.TxID(r.txid(i).Load()), i
		if i >= MaxMembers {
			member = int(r.owner(i).Load()) - 1
		}
		if txid != 0 {
			snapshots[member] = append(snapshots[member], txid)
		}
	}
	holder, held := s.shared.writer.Holder()
	var members []Member
	for i := range MaxMembers {
		self := i == r.area.Self()
		if !self && !r.area.Alive(i) {
			continue
		}
		info, ok := r.area.Member(i)
		if !ok {
			continue
		}
		slices.Sort(snapshots[i])
		members = append(members, Member{
			MemberInfo: info,
			Snapshots:  snapshots[i],
			Writing:    held && holder.Number == i,
			Self:       self,
		})
	}
	return members
}
