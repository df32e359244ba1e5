package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// An account that pays a fee keeps what an empty account is exempt from rent with, or
// nothing at all: the cluster refuses what is between.
const (
	signatureFee = 5_000
	emptyRent    = 890_880
)

// lacks says which of a wallet's accounts lacks what for a payment, "" where neither does
// or the cluster does not tell.
func lacks(s *stage, cluster *rpc.Client, n *ionet.Network, wallet ionet.Key, amount ionet.Amount) string {
	account := chain.TokenAccount(wallet, n.Mint)
	found, _, err := cluster.Accounts(s.ctx, []ionet.Key{wallet, account}, rpc.Confirmed, 0)
	if err != nil {
		return ""
	}
	var list []string
	if has := found[0].Lamports; has < signatureFee+emptyRent {
		list = append(list, fmt.Sprintf("wallet %s has %d lamports and needs %d: %d for the fee, the rest stays in it (--airdrop asks the faucet of a test cluster)", wallet, has, signatureFee+emptyRent, signatureFee))
	}
	state, err := chain.ParseTokenAccount(found[1].Owner, found[1].Data)
	switch {
	case !found[1].Exists() || errors.Is(err, chain.ErrNoAccount):
		list = append(list, fmt.Sprintf("wallet %s has no token account of mint %s, so no IO: %s IO are to be paid", wallet, n.Mint, amount.Tokens(n.Decimals)))
	case err == nil && state.Amount < amount.Base():
		list = append(list, fmt.Sprintf("token account %s of wallet %s has %s IO, %s IO are to be paid", account, wallet, ionet.MustAmount(state.Amount).Tokens(n.Decimals), amount.Tokens(n.Decimals)))
	}
	return strings.Join(list, "; ")
}

// tokenError is a refusal whose base units are told in tokens too.
type tokenError struct {
	text  string
	cause error
}

func (e *tokenError) Error() string { return e.text }
func (e *tokenError) Unwrap() error { return e.cause }

// The amounts in the service's refusals, which knows no tokens.
var baseUnits = regexp.MustCompile(`(Amount is |reserve is |whole balance: )?\b(\d+)( base units)?`)

// inTokens says the amounts of a refusal in tokens, with the base units in brackets.
func inTokens(err error, decimals int) error {
	text := baseUnits.ReplaceAllStringFunc(err.Error(), func(found string) string {
		m := baseUnits.FindStringSubmatch(found)
		amount, err := ionet.ParseBase(m[2])
		if m[1] == "" && m[3] == "" || err != nil {
			return found
		}
		return fmt.Sprintf("%s%s IO (%s base units)", m[1], amount.Tokens(decimals), amount)
	})
	return &tokenError{text, err}
}
