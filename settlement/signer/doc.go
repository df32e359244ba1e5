// Package signer signs what the settle machine sends, behind one interface: by
// keys in this process (Local), or by another process that holds them (Client,
// Server), where a stolen service can't reach them.
//
// A Server signs no bytes that it does not understand. It reads the message back,
// derives the one-time lane keys itself, recomputes the content of each position
// and looks at it as an auditor would: known lane, kind that belongs there, vault
// or mint of the network, memo that agrees, emission of the epoch recomputed from
// the schedule, its own clock past the epoch's end, fees and sums of a window under
// their limits. What it signs it first writes into an append-only journal, synced
// once for each batch before a signature leaves, and from it refuses a position that
// it knows to be past.
//
// The journal decides nothing about money that the lanes do not decide as well:
// of all transactions ever signed for a position one lands. So a signature that
// was made and got lost is harmless, and signing another content for the same
// position is allowed; DESIGN.md tells what each loss costs.
//
// No key and no secret is in an error, a log line or an answer of this package.
package signer
