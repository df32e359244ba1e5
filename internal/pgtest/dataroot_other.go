//go:build !linux

package pgtest

// memoryRoot is Linux's alone.
func memoryRoot(string) string { return "" }
