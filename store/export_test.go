package store

// SetBudget makes write transactions store pages early: n is how many bytes of
// changed pages they keep in memory.
func (o *Options) SetBudget(n int) { o.budget = n }

// Die lets go of the store as a killed process would, in the middle of whatever it
// does. What goes on must not use the handle any more.
func (db *DB) Die() {
	db.area.Kill()
	db.mapping.Close()
}
