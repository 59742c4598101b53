package crashsim

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
)

// Cut is the medium at one moment, and what was on its way to it: what a power cut at
// that moment can leave.
type Cut struct {
	durable []byte
	pending []write
}

// Cut returns what a power cut now can leave.
func (d *Disk) Cut() *Cut {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Cut{bytes.Clone(d.durable), slices.Clone(d.pending)}
}

// image returns what is on the medium.
func (c *Cut) image() []byte {
	image := used.get(len(c.durable))
	copy(image, c.durable)
	return image
}

// Random returns an image. Of each store, None, All or Some is left; rng may be nil
// except for Some.
func (c *Cut) Random(keep Keep, rng *rand.Rand) []byte {
	image := c.image()
	for _, w := range c.pending {
		share := 0
		if keep == Some {
			share = rng.IntN(3) // none of this write, about half, all
		}
		for at := 0; at < len(w.data); at += sector {
			end := min(at+sector, len(w.data))
			switch {
			case keep == None, keep == Some && rng.IntN(2) >= share:
				continue
			case keep == Some && rng.IntN(4) == 0:
				end = at + rng.IntN(end-at)&^7
			}
			copy(image[w.off+at:], w.data[at:end])
		}
	}
	return image
}

// Unit is a piece of the medium that gets there as a whole, and its versions that were
// stored since the last flush, oldest first.
type Unit struct {
	Off      int
	Versions [][]byte
}

// Units returns what is on its way, in pieces of size bytes, by offset.
func (c *Cut) Units(size int) []Unit {
	byOff := map[int]int{}
	var units []Unit
	for _, w := range c.pending {
		for at := 0; at < len(w.data); {
			off := (w.off + at) / size * size
			from := w.off + at - off
			n := min(size-from, len(w.data)-at)
			i, ok := byOff[off]
			if !ok {
				i = len(units)
				byOff[off] = i
				units = append(units, Unit{Off: off})
			}
			u := &units[i]
			last := make([]byte, size)
			if k := len(u.Versions); k > 0 {
				copy(last, u.Versions[k-1])
			} else {
				copy(last, c.durable[off:])
			}
			copy(last[from:], w.data[at:at+n])
			u.Versions = append(u.Versions, last)
			at += n
		}
	}
	slices.SortFunc(units, func(a, b Unit) int { return cmp.Compare(a.Off, b.Off) })
	return units
}

// Image returns the medium with version(i) of each unit: 0 is what the last flush left,
// len(Versions) the newest.
func (c *Cut) Image(units []Unit, version func(i int) int) []byte {
	image := c.image()
	for i, u := range units {
		if v := version(i); v > 0 {
			copy(image[u.Off:], u.Versions[v-1])
		}
	}
	return image
}

// Each calls look with what a power cut can leave: nothing, all, each unit of size
// bytes alone, all but each, each unit at each older version among the newest of the
// others, and random parts as Some says. Of more than most units it takes some at random.
// An image is used again when look returns.
func (c *Cut) Each(size, most int, rng *rand.Rand, random int, look func(image []byte)) {
	check := func(image []byte) {
		look(image)
		Recycle(image)
	}
	units := c.Units(size)
	ones := rng.Perm(len(units))
	ones = ones[:min(len(ones), most)]
	newest := func(i int) int { return len(units[i].Versions) }
	check(c.Image(units, func(int) int { return 0 }))
	if len(units) == 0 {
		return
	}
	check(c.Image(units, newest))
	for _, one := range ones {
		only := func(i int) int {
			if i == one {
				return newest(i)
			}
			return 0
		}
		if len(units) > 1 {
			check(c.Image(units, only))
		}
		for v := range newest(one) {
			if v == 0 && len(units) == 1 {
				continue // nothing
			}
			check(c.Image(units, func(i int) int {
				if i == one {
					return v
				}
				return newest(i)
			}))
		}
	}
	for range random {
		check(c.Random(Some, rng))
	}
}
