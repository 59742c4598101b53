//go:build !windows

package testprocess

func transient(error) bool { return false }
