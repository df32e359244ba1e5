// Package ionet holds the nouns that every room of the house shares: amounts of
// tokens, keys, hashes, device UUIDs, the epoch clock and the network file. It
// decides nothing and touches neither clock, network nor database.
//
// Money is an Amount: a checked count of base units (10^-decimals IO, 10^-8 by
// default). There is no float anywhere in the module. JSON and TOML carry
// amounts as decimal strings of base units.
package ionet
