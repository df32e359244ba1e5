package settlement

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// purse is where a payment's amount stands in the ledger before, while and after
// a signed content carries it.
type purse struct {
	// owed is what a content takes the debt from. So does a payment that this database
	// never signed; what is left then was overpaid.
	owed   ledger.Account
	flying ledger.Account
	vault  ledger.Account // what it leaves in the end
}

// purseOf returns the purse of a payment to payee by a content of that kind, out
// of the token account source.
func (s *Service) purseOf(kind chain.Kind, payee, source ionet.Key) (purse, error) {
	n := s.cfg.Network
	switch kind {
	case chain.KindPayout, chain.KindClaim:
		if source == n.Vaults.Reward {
			return purse{owed: ledger.Owed(payee), flying: ledger.InFlight(payee), vault: ledger.VaultReward()}, nil
		}
	case chain.KindFees:
		if source == n.Vaults.Fee {
			return purse{owed: ledger.OwedFees(payee), flying: ledger.FeesInFlight(payee), vault: ledger.VaultFee()}, nil
		}
	case chain.KindWithdrawal:
		if source == n.Vaults.Fee {
			return purse{owed: ledger.Withdrawing(payee), flying: ledger.WithdrawalInFlight(payee), vault: ledger.VaultFee()}, nil
		}
	case chain.KindUnlock:
		for _, a := range n.Allocation {
			if a.Account == source {
				return purse{owed: ledger.Locked(a.Category), flying: ledger.UnlockInFlight(a.Category), vault: ledger.VaultAllocation(a.Category)}, nil
			}
		}
	}
	return purse{}, fmt.Errorf("a %s takes nothing from %s", kind, source)
}
