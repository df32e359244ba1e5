package ledger

import (
	"strings"

	"github.com/ionet-settlement/ionet"
)

// Account names an account; make one with the functions below. Vaults are the
// accounts whose name begins with "vault:"; what was overpaid counts as one.
type Account struct{ name string }

const vaultPrefix = "vault:"

// VaultReward is what the reward vault holds of emission debts.
func VaultReward() Account { return Account{vaultPrefix + "reward"} }

// VaultFee is what the fee vault holds of deposits and fees.
func VaultFee() Account { return Account{vaultPrefix + "fee"} }

// Owed is what a payee earned and no signed content carries.
func Owed(payee ionet.Key) Account { return Account{"owed:" + payee.String()} }

// InFlight is what signed contents whose outcome is open carry to a payee.
func InFlight(payee ionet.Key) Account { return Account{"inflight:" + payee.String()} }

// Suspense holds credits to a vault that nothing of ours explains.
func Suspense() Account { return Account{"suspense"} }

// Overpaid is what payees got beyond what they earned. Like a vault it holds
// something of ours, in hands that are not.
func Overpaid() Account { return Account{"overpaid"} }

// String returns the account's name as the tables hold it.
func (a Account) String() string { return a.name }

func (a Account) isVault() bool { return strings.HasPrefix(a.name, vaultPrefix) || a == Overpaid() }
