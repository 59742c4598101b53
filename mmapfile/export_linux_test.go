package mmapfile

// FillZeros is what growth falls back to. No file system at hand needs it.
var FillZeros = fillZeros
