package txn

import (
	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Report is what Check found: how many pages there are, and of what use they are.
type Report struct {
	Values    uint64 // in all trees but that of free space
	Pages     uint64 // up to the high-water mark, meta pages included
	Reachable uint64 // in use by this commit, meta pages included
	Free      uint64 // reusable
	Retired   uint64 // dead, perhaps still needed by a reader
}

// Check verifies every page of the snapshot, and that each page below its
// high-water mark is exactly one of reachable, free and retired (I1). Damage is
// index.ErrCorrupt. It calls progress, whose error ends it, for every run of
// pages it has looked at.
func (r *Reader) Check(progress func(pages int) error) (Report, error) {
	c := checker{
		use:      make([]use, len(r.Snapshot.Memory)>>r.Snapshot.PageShift),
		runs:     map[extent]bool{},
		progress: progress,
	}
	c.use[0], c.use[1] = reachable, reachable
	visit := func(ref index.Ref, n int) error {
		return c.mark(extent{ref.Page, uint64(n)}, reachable)
	}
	values, err := r.Snapshot.Check(r.Main, visit)
	if err != nil {
		return Report{}, err
	}
	if _, err := r.Snapshot.Check(r.free, visit); err != nil {
		return Report{}, errors.Wrapf(err, "free-space tree")
	}
	if err := c.freeSpace(r); err != nil {
		return Report{}, err
	}
	for e := range c.runs {
		return Report{}, errors.Wrapf(index.ErrCorrupt, "%d free pages from %d are not found by size", e.pages, e.start)
	}
	return c.report(values)
}

// use is what a page is used for.
type use uint8

const (
	nothing use = iota
	reachable
	free
	dead
)

func (u use) String() string { return [...]string{"nothing", "reachable", "free", "retired"}[u] }

type checker struct {
	use      []use
	runs     map[extent]bool // free extents of several pages, not yet found by size
	progress func(pages int) error
}

func (c *checker) mark(e extent, u use) error {
	if !e.within(index.PageID(len(c.use))) {
		return errors.Wrapf(index.ErrCorrupt, "%d pages from %d are %v, and outside the store", e.pages, e.start, u)
	}
	for id := e.start; id < e.end(); id++ {
		if c.use[id] != nothing {
			return errors.Wrapf(index.ErrCorrupt, "page %d is %v and %v", id, c.use[id], u)
		}
		c.use[id] = u
	}
	return c.progress(int(e.pages))
}

func (c *checker) freeSpace(r *Reader) error {
	return r.eachFree(func(e freeEntry) error {
		if e.death > r.Snapshot.TxID {
			return errors.Wrapf(index.ErrCorrupt, "pages retired by txid %v in the snapshot of %v",
				e.death, r.Snapshot.TxID)
		}
		switch {
		case e.kind == keyFree:
			if e.free.pages > 1 {
				c.runs[e.free] = true
			}
			return c.mark(e.free, free)
		case e.kind == keySize && !c.runs[e.free]: // they come later
			return errors.Wrapf(index.ErrCorrupt, "no %d pages from %d are free", e.free.pages, e.free.start)
		case e.kind == keySize:
			delete(c.runs, e.free)
		}
		for _, x := range e.list {
			if err := c.mark(x.extent, dead); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *checker) report(values uint64) (Report, error) {
	report := Report{Values: values, Pages: uint64(len(c.use))}
	for id, u := range c.use {
		switch u {
		case nothing:
			return report, errors.Wrapf(index.ErrCorrupt, "page %d is not reachable, free or retired", id)
		case reachable:
			report.Reachable++
		case free:
			report.Free++
		case dead:
			report.Retired++
		}
	}
	return report, nil
}
