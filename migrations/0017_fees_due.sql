-- +goose Up
-- Payout runs take the largest debts of fees first, of perhaps millions.
CREATE INDEX ledger_balances_fees ON ledger_balances (balance DESC, account) WHERE starts_with(account, 'fees:');
