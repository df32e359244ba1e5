package localnet

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"
	"strings"

	"github.com/gagliardetto/solana-go"
)

// tokenAmount is an amount as the RPC shows it. UIAmount is the same decimal number
// as UIAmountString, written as a JSON number, so that nothing is rounded here.
type tokenAmount struct {
	Amount         string      `json:"amount"`
	Decimals       uint8       `json:"decimals"`
	UIAmount       json.Number `json:"uiAmount"`
	UIAmountString string      `json:"uiAmountString"`
}

func showAmount(base uint64, decimals uint8) tokenAmount {
	s := decimal(base, int(decimals))
	return tokenAmount{strconv.FormatUint(base, 10), decimals, json.Number(s), s}
}

// decimal writes base / 10^decimals without trailing zeros.
func decimal(base uint64, decimals int) string {
	s := strconv.FormatUint(base, 10)
	if decimals == 0 {
		return s
	}
	if pad := decimals + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	whole, part := s[:len(s)-decimals], strings.TrimRight(s[len(s)-decimals:], "0")
	if part == "" {
		return whole
	}
	return whole + "." + part
}

// tokenAccountAt returns a token account and its mint's decimals.
func (v *view) tokenAccountAt(key solana.PublicKey, slot uint64) (t tokenAccount, decimals uint8, err error) {
	a := v.account(key, slot)
	if a == nil {
		return t, 0, invalid("could not find account")
	}
	t, ok := readTokenAccount(a)
	if !ok {
		return t, 0, invalid("not a Token account")
	}
	m, err := v.mintAt(t.mint, slot)
	return t, m.decimals, err
}

func (b *bank) mintAt(key solana.PublicKey, slot uint64) (mint, error) {
	return mintIn(b.accounts.at(key, slot))
}

func mintIn(a *Account) (mint, error) {
	if a == nil {
		return mint{}, invalid("could not find mint")
	}
	m, ok := readMint(a)
	if !ok {
		return m, invalid("not a Token mint")
	}
	return m, nil
}

func getTokenAccountBalance(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		t, decimals, err := v.tokenAccountAt(key, slot)
		return v.context(slot, showAmount(t.amount, decimals)), err
	})
}

func getTokenSupply(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		m, err := v.mintAt(key, slot)
		return v.context(slot, showAmount(m.supply, m.decimals)), err
	})
}

// getTokenLargestAccounts answers the 20 largest accounts of a mint, largest first.
func getTokenLargestAccounts(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	type holder struct {
		Address solana.PublicKey `json:"address"`
		tokenAmount
		amount uint64
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		m, err := v.mintAt(key, slot)
		if err != nil {
			return nil, err
		}
		list := []holder{}
		for k, a := range v.ownedBy(v.account(key, slot).Owner, slot) {
			if t, ok := readTokenAccount(a); ok && t.mint == key {
				list = append(list, holder{k, showAmount(t.amount, m.decimals), t.amount})
			}
		}
		sort.Slice(list, func(i, j int) bool {
			if list[i].amount != list[j].amount {
				return list[i].amount > list[j].amount
			}
			return bytes.Compare(list[i].Address[:], list[j].Address[:]) < 0
		})
		return v.context(slot, list[:min(len(list), 20)]), nil
	})
}

func getTokenAccountsByOwner(f *Front, p params) (any, error) {
	return f.tokenAccounts(p, func(t tokenAccount, k solana.PublicKey) bool { return t.owner == k })
}

func getTokenAccountsByDelegate(f *Front, p params) (any, error) {
	return f.tokenAccounts(p, func(t tokenAccount, k solana.PublicKey) bool { return t.delegate != nil && *t.delegate == k })
}

// tokenAccounts lists the token accounts of a wallet, by mint or by token program.
func (f *Front) tokenAccounts(p params, match func(tokenAccount, solana.PublicKey) bool) (any, error) {
	wallet, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var by struct {
		Mint    string `json:"mint"`
		Program string `json:"programId"`
	}
	if err := p.into(1, &by); err != nil {
		return nil, err
	}
	var c accountConfig
	if err := p.optional(2, &c); err != nil {
		return nil, err
	}
	return f.read(p, 2, func(v *view, slot uint64) (any, error) {
		mint, program, err := v.tokenProgram(by.Mint, by.Program, slot)
		if err != nil {
			return nil, err
		}
		list, err := v.showAll(v.ownedBy(program, slot), slot, c, func(a *Account) bool {
			t, ok := readTokenAccount(a)
			return ok && match(t, wallet) && (mint == nil || t.mint == *mint)
		})
		return v.context(slot, list), err
	})
}

// tokenProgram reads the filter {mint} or {programId} of the token account lists.
func (v *view) tokenProgram(mintText, programText string, slot uint64) (mint *solana.PublicKey, program solana.PublicKey, err error) {
	if mintText == "" {
		program, err = parseKey(programText)
		if err == nil && !isToken(program) {
			err = invalid("unrecognized Token program id")
		}
		return nil, program, err
	}
	key, err := parseKey(mintText)
	if err != nil {
		return nil, program, err
	}
	if _, err := v.mintAt(key, slot); err != nil {
		return nil, program, err
	}
	return &key, v.account(key, slot).Owner, nil
}
