package mutants_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/testdir"
)

func TestMutantsFitTheCode(t *testing.T) {
	all := readMutants(t)
	if len(all) < 25 {
		t.Errorf("there are %d mutants only", len(all))
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) { overlay(t, testdir.New(t), []mutant{m}) })
	}
}

const example = `package p

func f(n int) (m int) {
	m = n + 1
	return m
}

func g() {
	f(1)
	f(2)
}
`

func mutantOf(name string, texts ...string) mutant {
	m := mutant{name: name}
	for ; len(texts) > 0; texts = texts[2:] {
		m.edits = append(m.edits, edit{"p.go", texts[0], texts[1]})
	}
	return m
}

func TestMutantsComeBeforeTheBodyOfTheirFunction(t *testing.T) {
	woven, err := weave("p.go", example, []mutant{
		mutantOf("minus", "n + 1", "n - 1"),
		mutantOf("both", "m = n + 1\n", "m = 7\n", "f(2)\n", ""),
		mutantOf("nothing", "\tf(1)\n\tf(2)\n", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `package p; import "github.com/sharekv/sharekv/internal/mutants"

func f(n int) (m int) {
if mutants.On("minus") {
	m = n - 1
	return m
}

if mutants.On("both") {
	m = 7
	return m
}

	m = n + 1
	return m
}

func g() {
if mutants.On("both") {
	f(1)
	
return
}

if mutants.On("nothing") {

return
}

	f(1)
	f(2)
}
`
	if woven != want {
		t.Errorf("woven:\n%s", woven)
	}
}

func TestMutantThatDoesNotFitIsRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"m = n + 2", "", "0 times, not once"},
		{"f(", "", "3 times, not once"},
		{"package p", "", "not within a function"},
		{"func g() {\n\tf(1)", "", "not within a function"},
		{"m = n + 1\n", "m = (\n", "with mutants in it"},
	} {
		_, err := weave("p.go", example, []mutant{mutantOf("bad", c.old, c.new)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q became %q: %v, want %q in it", c.old, c.new, err, c.want)
		}
	}
}

func TestMutantFileThatIsNotWholeIsRefused(t *testing.T) {
	const whole = "Wrong.\n\npackage: p\ntest: TestF\nenv: A=1\nwithin: 3s\nargs: -a -b\n-- old p.go --\nx\n-- new --\ny\n"
	m, err := parseMutant("m", []byte(whole))
	if err != nil || m.wrong != "Wrong." || m.in != "p" || m.test != "TestF" || m.env[0] != "A=1" ||
		m.limit != 3*time.Second || len(m.args) != 2 ||
		m.edits[0] != (edit{"p.go", "x\n", "y\n"}) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, part := range []string{
		"package: p\n", "test: TestF\n", "-- new --\ny\n", "-- old p.go --\nx\n", "-- old p.go --\nx\n-- new --\ny\n",
	} {
		if m, err := parseMutant("m", []byte(strings.Replace(whole, part, "", 1))); err == nil {
			t.Errorf("without %q: %+v", part, m)
		}
	}
	for _, line := range []string{"tests: TestF\n", "within: long\n"} {
		if m, err := parseMutant("m", []byte("Wrong.\n"+line+whole)); err == nil {
			t.Errorf("%q was taken: %+v", line, m)
		}
	}
}
