package main

import (
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// A progressBar shows on a terminal how far a long command is. The nil bar is
// for everything that is no terminal: it shows nothing.
type progressBar struct {
	container *mpb.Progress
	bar       *mpb.Bar
}

// newProgressBar shows a bar on w, if w is a terminal. A total of 0 is unknown.
func newProgressBar(w io.Writer, total int64, decorators ...decor.Decorator) *progressBar {
	if !isTerminal(w) {
		return nil
	}
	style := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	if total <= 0 {
		style = mpb.NopStyle().Build()
	}
	container := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	bar := container.MustAdd(total, style, mpb.AppendDecorators(decorators...))
	return &progressBar{container, bar}
}

// newByteBar is for a command that reads all of in.
func newByteBar(w io.Writer, in io.Reader) *progressBar {
	var size int64
	counters := decor.CurrentKibiByte("% .1f read")
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
			counters = decor.CountersKibiByte("% .1f of % .1f")
		}
	}
	return newProgressBar(w, size, counters)
}

// proxy returns a reader of r that moves the bar.
func (p *progressBar) proxy(r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return p.bar.ProxyReader(r)
}

func (p *progressBar) set(current int64) {
	if p != nil {
		p.bar.SetCurrent(current)
	}
}

// above returns where to write whole lines while the bar is on w.
func (p *progressBar) above(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return p.container
}

// end draws the bar a last time and gives the terminal back. Calling it again
// does nothing.
func (p *progressBar) end() {
	if p != nil {
		p.bar.Abort(false)
		p.container.Wait()
	}
}
