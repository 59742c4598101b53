package mmapfile

// FillZeros is what growth falls back to. No file system at hand needs it.
var FillZeros = fillZeros

// Unwritten is what a store goes on with after a short write, which local file
// systems hardly ever make.
var Unwritten = unwritten

// NameFileSystem is tested for more kinds than there are at hand.
var NameFileSystem = nameFileSystem

// IgnoringEINTR is what calls go through that signals can interrupt.
var IgnoringEINTR = ignoringEINTR

// BodyPath returns where the body of an object of the scope Local is.
func BodyPath(base string) (string, error) { return bodyPath(objectName{scopeLocal, base}) }
