-- +goose Up
-- Payouts take the largest debts first, of perhaps millions, without the payees that are held:
-- owed is the name of their ledger account.
CREATE INDEX ledger_balances_owed ON ledger_balances (balance DESC, account) WHERE starts_with(account, 'owed:');
ALTER TABLE held_payees ADD COLUMN owed text NOT NULL DEFAULT '';
CREATE INDEX held_payees_by_owed ON held_payees (owed, retry_at);
