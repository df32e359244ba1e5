// Package audit repeats everything that a network did and reports what does not
// hold. It needs an RPC of the cluster, the mint and the published files; it
// trusts none of them: every file is checked against what the chain commits to,
// and every judgement is made again.
//
// The walk is: mint -> genesis transaction -> network file -> the steps of every
// lane from position 0 -> each epoch's book, replayed by the policy in force ->
// each payment -> the receipt log, replayed record by record up to each seal -> each
// renter's balance and each payment of fees -> each movement of each vault. DESIGN.md says what is checked in
// which order.
//
// Findings are values. A thing that could not be looked at (a file that is
// missing, history that the RPC has pruned) is not a finding: it is unchecked,
// and then nobody may say that all holds.
package audit
