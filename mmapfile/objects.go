package mmapfile

// ObjectInfo tells people what a name stands for.
type ObjectInfo struct {
	Name string // with its scope; on Windows letters that a path must not have are missing
	Kind string // "mutex", for example; empty where only those who hold it know
	Path string // of a mapped file, or of the object's own
	Held bool   // some process holds it; otherwise it is what a killed one has left
}

// Objects returns the names of this user: those that stand for something, and those that
// killed processes have left, which the next one to use them takes for free. On Windows
// mapped files are not among them, for only the system knows their names. With prune, what
// was left is removed.
func Objects(prune bool) ([]ObjectInfo, error) {
	var all []ObjectInfo
	err := eachName(func(info ObjectInfo) (remove bool) {
		all = append(all, info)
		return prune && !info.Held
	})
	return all, err
}
