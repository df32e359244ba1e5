package genesis

import (
	"crypto/ed25519"
	"errors"
	"strings"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// lamportsPerSignature is Solana's base fee.
const lamportsPerSignature = 5000

// feeReserve is what the operator must have beyond the cost before anything is
// made: for the fees of the first hours, and for transactions signed twice.
const feeReserve = 50_000_000

// action is one transaction that is to be sent.
type action struct {
	what    string   // names of what it makes
	objects []object // that it makes; none in the genesis transaction
	message []byte
	keys    []ed25519.PrivateKey
	waits   bool // until the mint is there
}

// fee is what the runtime charges: no transaction of ours offers more than the
// base fee.
func (a action) fee() uint64 { return lamportsPerSignature * uint64(len(a.keys)) }

// rent is what stays in the accounts that the transaction makes.
func (a action) rent() (sum uint64) {
	for _, o := range a.objects {
		sum += o.lacks
	}
	return sum
}

// cost is what all actions take from the operator together.
func cost(actions []action) (rent, fees uint64) {
	for _, a := range actions {
		rent, fees = rent+a.rent(), fees+a.fee()
	}
	return rent, fees
}

// decide returns the transactions that make what is missing, in the order in
// which they are sent; the genesis transaction is the last.
func (r *run) decide(s survey, hash rpc.Blockhash) ([]action, error) {
	var mint, multisigs, accounts, lanes []object
	for _, o := range s.objects {
		switch {
		case o.exists:
		case o.lane:
			lanes = append(lanes, o)
		case o.sigs != nil:
			multisigs = append(multisigs, o)
		case !o.owner.IsZero():
			accounts = append(accounts, o)
		default:
			mint = append(mint, o)
		}
	}
	var actions []action
	for _, kind := range []struct {
		objects []object
		build   func([]object, rpc.Blockhash) ([]byte, error)
		keys    []ed25519.PrivateKey
		waits   bool
	}{
		{mint, r.mintMessage, []ed25519.PrivateKey{r.Keys.Operator}, false},
		{multisigs, r.multisigsMessage, []ed25519.PrivateKey{r.Keys.Operator}, false},
		{accounts, r.accountsMessage, []ed25519.PrivateKey{r.Keys.Operator}, len(mint) > 0},
		{lanes, r.lanesMessage, []ed25519.PrivateKey{r.Keys.Operator, r.Keys.Lane}, false},
	} {
		for rest := kind.objects; len(rest) > 0; {
			a, err := pack(rest, hash, kind.build)
			if err != nil {
				return nil, err
			}
			a.keys, a.waits = kind.keys, kind.waits
			actions, rest = append(actions, a), rest[len(a.objects):]
		}
	}
	if s.minted {
		return actions, nil
	}
	message, err := r.genesisMessage(hash)
	return append(actions, action{what: "genesis", message: message, keys: r.genesisKeys()}), err
}

// pack builds a transaction for as many of the objects as fit.
func pack(objects []object, hash rpc.Blockhash, build func([]object, rpc.Blockhash) ([]byte, error)) (action, error) {
	n := min(len(objects), 8)
	message, err := build(objects[:n], hash)
	for errors.Is(err, chain.ErrTooLarge) && n > 1 {
		n--
		message, err = build(objects[:n], hash)
	}
	var names []string
	for _, o := range objects[:n] {
		names = append(names, o.name)
	}
	return action{what: strings.Join(names, ", "), objects: objects[:n], message: message}, err
}

func (r *run) mintMessage(o []object, hash rpc.Blockhash) ([]byte, error) {
	return chain.MintCreation{
		FeePayer: r.operator, EpochLane: r.content.Lane, Decimals: uint8(r.Network.Decimals),
		Lamports: o[0].lacks, Blockhash: hash.Hash, Budget: setUpBudget(1),
	}.Message()
}

func (r *run) multisigsMessage(list []object, hash rpc.Blockhash) ([]byte, error) {
	c := chain.MultisigCreation{FeePayer: r.operator, Blockhash: hash.Hash, Budget: setUpBudget(len(list))}
	for _, o := range list {
		s := *o.sigs
		s.Lamports = o.lacks
		c.Multisigs = append(c.Multisigs, s)
	}
	return c.Message()
}

func (r *run) accountsMessage(list []object, hash rpc.Blockhash) ([]byte, error) {
	c := chain.AccountCreation{FeePayer: r.operator, Mint: r.Network.Mint, Blockhash: hash.Hash, Budget: setUpBudget(len(list))}
	for _, o := range list {
		c.Owners = append(c.Owners, o.owner)
	}
	return c.Message()
}

func (r *run) lanesMessage(list []object, hash rpc.Blockhash) ([]byte, error) {
	c := chain.Opening{FeePayer: r.operator, LaneKey: r.Network.Keys.Lane, Blockhash: hash.Hash, Budget: setUpBudget(len(list))}
	for _, o := range list {
		name, _ := r.Network.LaneName(o.address)
		first := r.Keys.Secret.Public(chain.FirstC(o.address))
		c.Lanes = append(c.Lanes, chain.NewLane{Name: name, First: first, Lamports: o.lacks})
	}
	return c.Message()
}

// setUpBudget has room for n accounts, the bump searches of addresses included.
func setUpBudget(n int) chain.Budget {
	return chain.Budget{ComputeUnits: uint32(10_000 + 60_000*n), LoadedBytes: 2 << 20}
}
