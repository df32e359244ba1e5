// Package chain holds the values and rules of our Solana transactions: what a
// lane is, the bytes of its contents, how a transaction is built, signed and
// read back, and how accounts are parsed. It reaches no network (chain/rpc
// does) and knows no database: everything here is a function of its arguments.
//
// The bytes are those of proofs/FORMAT.md, sections 9 to 11. Building and
// reading are two independent paths over one rule set: Plan.Message refuses a
// plan that Decode would not read back as the same plan, and Decode refuses
// every transaction that section 11 does not name. DESIGN.md tells why lanes
// exist and what is proven about them.
//
// Secrets and one-time keys never print; see Secret.
package chain
