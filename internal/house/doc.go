// Package house holds the rules of this repository as tests: who may import whom,
// what the pure rooms may touch, and that each command in the documentation works.
// It has no code of its own.
//
// The tests read the sources through this process where they can, so that the go
// command knows what a cached result depends on.
package house
