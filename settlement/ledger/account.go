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

// Renter is what a renter prepaid and has not spent.
func Renter(wallet ionet.Key) Account { return Account{"renter:" + wallet.String()} }

// Withdrawing is what a renter asked to get back and no signed content carries.
func Withdrawing(wallet ionet.Key) Account { return Account{"withdrawing:" + wallet.String()} }

// WithdrawalInFlight is what signed contents whose outcome is open give back to a
// renter.
func WithdrawalInFlight(wallet ionet.Key) Account {
	return Account{"withdrawal-inflight:" + wallet.String()}
}

// Session is what a renter set aside for a session and none of its channels holds.
func Session(id ionet.Hash) Account { return Account{"session:" + id.String()} }

// Channel is what a session set aside for one of its channels and no receipt took.
func Channel(channel ionet.Key) Account { return Account{"channel:" + channel.String()} }

// OwedFees is what a payee earned in fees and no signed content carries.
func OwedFees(payee ionet.Key) Account { return Account{"fees:" + payee.String()} }

// FeesInFlight is what signed contents whose outcome is open carry of fees to a
// payee.
func FeesInFlight(payee ionet.Key) Account { return Account{"fees-inflight:" + payee.String()} }

// NetworkFees is the network's part of fees where the policy names no wallet for it.
func NetworkFees() Account { return Account{"network-fees"} }

// VaultAllocation is what the account of a genesis category holds.
func VaultAllocation(category string) Account {
	return Account{vaultPrefix + "allocation:" + category}
}

// Locked is what a genesis category holds that no signed content releases.
func Locked(category string) Account { return Account{"locked:" + category} }

// UnlockInFlight is what signed contents whose outcome is open release of a category.
func UnlockInFlight(category string) Account { return Account{"unlock-inflight:" + category} }

// WrittenOff is what a person booked as gone: tokens that left a vault by no
// content of ours, and what payees were overpaid. Like a vault it stands for
// something that was ours.
func WrittenOff() Account { return Account{vaultPrefix + "written-off"} }

// Suspense holds credits to a vault that nothing of ours explains.
func Suspense() Account { return Account{"suspense"} }

// Overpaid is what payees got beyond what they earned. Like a vault it holds
// something of ours, in hands that are not.
func Overpaid() Account { return Account{"overpaid"} }

// String returns the account's name as the tables hold it.
func (a Account) String() string { return a.name }

func (a Account) isVault() bool { return strings.HasPrefix(a.name, vaultPrefix) || a == Overpaid() }
