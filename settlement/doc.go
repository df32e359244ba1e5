// Package settlement is the money machine: it takes in signed statements,
// closes epochs, and settles what is owed on chain, exactly once.
//
// Any number of services may share one database. Each takes in statements; one,
// the holder of the lease, closes, signs and sends. What was decided is in
// PostgreSQL, what happened is on the chain at finalized, and only the chain
// decides: a lane's state there names the one content that won a position. A
// service may be killed at any instruction and started again on the same or on
// an older database; it then reads the lanes, imports what landed, makes every
// forgotten transaction worthless (the fence) and goes on. DESIGN.md holds the
// table of crash points.
//
// What a caller may rely on:
//   - a statement that was acked is in its epoch's book;
//   - an epoch mints once, exactly what its published book says;
//   - it is judged by the policy that was in force: one that was announced in a book
//     that was sealed before its first epoch began, or that of the genesis;
//   - a debt is paid at most once, and is never forgotten;
//   - every change of the books (package settlement/ledger) is committed together
//     with the decision that made it;
//   - bytes go to the network only after what they do is committed here and
//     published.
//
// Mistakes of outsiders are *Problem values; every other error is ours.
package settlement
