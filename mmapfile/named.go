package mmapfile

// A NamedMutex is a Mutex that has a name. All of Mutex counts: the death of an owner,
// or that it closes the NamedMutex while it has it, is ErrAbandoned to the next one.
type NamedMutex struct {
	*Mutex
	*object
}

// CreateMutex opens the mutex of this name, which follows the rules of Options.Name, and
// creates it, free, if nobody holds it, unless o forbids that. existed says that
// somebody did. A name in use for anything else is ErrWrongKind.
func CreateMutex(name string, o *ObjectOptions) (m *NamedMutex, existed bool, err error) {
	obj, existed, err := openObject(kindMutex, name, o, func(*Area) {})
	if err != nil {
		return nil, false, err
	}
	return &NamedMutex{obj.area.Mutex(objectWaits), obj}, existed, nil
}
