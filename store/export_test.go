package store

// SetBudget makes write transactions store pages early: n is how many bytes of
// changed pages they keep in memory.
func (o *Options) SetBudget(n int) { o.budget = n }
