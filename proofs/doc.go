// Package proofs holds the statements that workers, wallets and the service
// sign, and the pure function that turns an epoch's statements into verdicts. It
// reaches no clock, no network and no database: the same inputs give the same
// bytes on any machine, so an auditor can repeat every result.
//
// FORMAT.md beside this file specifies every byte; the section is named above
// the code that implements it. Parsers are strict: one encoding per value,
// trailing bytes refused, and what parses encodes to the same bytes again.
package proofs
