// Package genesis makes a network: its keys and network file in a folder, and
// on the chain its mint, vaults, allocation accounts and lanes, and the one
// transaction that mints the genesis supply.
//
// It can stop anywhere, at any file and any call, and be run again: it then
// finishes, with the same keys, the same network file and the same addresses,
// and never mints twice. Why:
//   - Files appear whole and durable or not at all, and are never replaced, so
//     that Prepare finds what an earlier run decided. The one exception is the
//     network file of which nobody can know yet: before it is published, which
//     is just before the first attempt is signed, its start may be moved
//     (start.go).
//   - Every address is derived from keys, so that the network file is complete
//     before the first transaction.
//   - Mint, multisigs, accounts and lanes can be made once only: a second copy of
//     such a transaction fails as a whole. None of them depends on the start.
//   - The supply is minted by position 0 of the epoch lane. All transactions
//     ever signed for it carry the same content, one of them lands, and the
//     lane's state at finalized tells that it did (chain/DESIGN.md). Where the mint
//     is a multisig's, that transaction hands it over: no member signs before
//     there is a network, and nobody but the members mints after it. Signed
//     bytes are in the folder before the first one leaves, and another is
//     signed only when the former is dead on every endpoint.
//
// What is to be done is decided in one place and either told or done. For the
// folder that is NewDraft: Prepare writes what a draft lacks. For the chain it
// is survey and decide: Run sends the transactions that Draft.Plan lists. So a
// plan costs, to the lamport, what a run then spends. Only a transaction that
// must be signed again and lands too, as after a crash or a fork of the chain,
// costs its fee again.
package genesis
