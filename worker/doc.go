// Package worker is the GPU host's side: it reads the devices once in every sample,
// signs what it read as an uptime statement, keeps the statement durably and hands it
// to the service until the epoch's seal is final on chain.
//
// What it promises:
//
//   - A statement is in the spool, synced, before its first byte goes out. After a
//     crash at any byte the worker sends the same statement again, never another one
//     for the same sample; the chain of statements goes on from the last synced one.
//   - Nothing that was read is lost to an outage of the service or the network: the
//     reading waits for its beacon, the statement for its ack. Only the policy's late
//     limit and the spool's bound decide.
//   - An ack is a promise of the service. When a seal's book lacks a statement that
//     was acked, statement and ack are kept as evidence and reported.
//   - When the service has a new instance, everything that is not sealed is presented
//     again with its ack, so that a service that was put back to a backup knows it.
//   - A reading is signed for the sample in which it was made, whatever the host's wall
//     clock said: the boot clock and the service's time decide.
//   - One process per folder: a lock keeps a second one out, which would sign two
//     statements for one sample. One with a copy of the folder ends when it sees the other.
//   - Only the provider that the folder names can make the host work for somebody else,
//     and where the host has an endpoint of its own no beacon is signed that it denies.
//
// The package knows wallets only by the delegation that they signed: a worker holds no
// funds.
package worker
