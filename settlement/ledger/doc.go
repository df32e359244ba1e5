// Package ledger keeps double entry books in SQL: who is owed what, what is on
// its way, and what the vaults hold against it.
//
// A transfer takes an amount from one account (debit) and gives it to another
// (credit). An entry is a set of transfers under one id; posting an id a second
// time changes nothing, posting it with other transfers is an error. Every
// function works inside the caller's transaction: an entry is as durable as the
// decision that made it, neither earlier nor later.
//
// A bundle is an entry of very many transfers, stored in one row (PostBundle): it is
// how receipts are posted, thousands at once. Balances and TrialBalance count it as
// any other. It moves accounts of renters, sessions, channels and payees, never a
// vault or suspense, because those are read by their transfers.
//
// An account's balance is its credits less its debits. Accounts of debts never
// fall below zero, vaults never rise above it: the database refuses the entry
// that would do so (debt_not_negative, vault_not_overdrawn), and what is owed or
// in flight is therefore always covered by a vault. The sum of all balances is
// zero at every commit; TrialBalance checks that and that each balance is what
// its transfers make.
//
//	epoch sealed           debit vault:reward   credit owed:<payee>
//	content signed         debit owed           credit inflight
//	another content won    debit inflight       credit owed
//	paid                   debit inflight       credit vault:reward
//	paid beyond the debt   debit overpaid       credit vault:reward
//	imported payment       debit owed           credit vault:reward
//	deposit                debit vault:fee      credit renter:<wallet>, or suspense
//	withdrawal accepted    debit renter         credit withdrawing
//	session opened         debit renter         credit session:<id>
//	channel, or its top-up debit session        credit channel:<address>
//	receipt                debit channel        credit fees:<payee>, and fees:<network's wallet> or network-fees
//	channel over           debit channel        credit session
//	session over           debit session        credit renter
//	resumed                debit written-off    credit the vault that lacks it
//
// Withdrawals, releases and fees go the same way as payments, through accounts of
// their own; fees are paid out of vault:fee.
package ledger
