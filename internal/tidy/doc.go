// Package tidy keeps the house: its tests read the source of the whole
// repository and fail where a file breaks a rule of the project. Each failure
// says what to do instead.
//
//	imports_test.go  who may import whom
//	unsafe_test.go   where unsafe is, and that each use is argued for
//	source_test.go   what no file may hold, and how long it may be
//	layout_test.go   what lies at the top, and that packages are described
//	tree_test.go     reads the files
//
// Every rule is a function over files that knows nothing of the disk, and is
// itself tested with a file that breaks it.
//
// The files are parsed, not built: what is checked does not depend on the
// system, on build tags, or on the go command. The package says nothing about
// formatting and types, which gofmt and go vet judge.
package tidy
