package localnet

import (
	"encoding/json"
	"fmt"

	"github.com/gagliardetto/solana-go"
)

// sendConfig is what sendTransaction takes. The node's own retries (maxRetries) have
// no meaning here, where a transaction runs as it comes.
type sendConfig struct {
	Encoding       string      `json:"encoding"`
	SkipPreflight  bool        `json:"skipPreflight"`
	Preflight      *commitment `json:"preflightCommitment"`
	MaxRetries     *uint64     `json:"maxRetries"`
	MinContextSlot *uint64     `json:"minContextSlot"`
}

// decodeTx reads parameter 0 as a transaction.
func decodeTx(p params, encoding string) (*wireTx, error) {
	var s string
	if err := p.into(0, &s); err != nil {
		return nil, err
	}
	raw, err := decodeWire(s, encoding)
	if err != nil {
		return nil, err
	}
	t, err := parseTx(raw)
	if err == nil {
		return t, nil
	}
	if t == nil {
		return nil, rpcErrorf(codeParams, "failed to deserialize solana_transaction::versioned::VersionedTransaction: %v", err)
	}
	return nil, rpcErrorf(codeParams, "invalid transaction: %v", err)
}

// sendTransaction checks a transaction in the bank of the preflight commitment, then
// runs it in the open slot and answers its signature. As with a validator, the answer
// says nothing of success: what can't land once preflight is over, or with preflight
// skipped, is dropped in silence.
func sendTransaction(f *Front, p params) (any, error) {
	return f.send(p, f.n.land)
}

// send checks a transaction and hands it to land, under the bank's lock.
func (f *Front) send(p params, land func(*wireTx) error) (any, error) {
	var c sendConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	t, err := decodeTx(p, c.Encoding)
	if err != nil {
		return nil, err
	}
	valid := t.verify()
	f.n.bank.mu.Lock()
	defer f.n.bank.mu.Unlock()
	var at contextConfig
	if c.Preflight != nil {
		at.Commitment = *c.Preflight
	}
	if c.SkipPreflight {
		at.Commitment = processed
	}
	at.MinContextSlot = c.MinContextSlot
	slot, err := f.view().slotFor(at)
	if err != nil {
		return nil, err
	}
	if !c.SkipPreflight {
		if !valid {
			return nil, rpcErrorf(codeSignature, "Transaction signature verification failure")
		}
		if err := f.n.preflight(t, slot); err != nil {
			return nil, err
		}
	}
	if !valid {
		f.n.log.Debug("drop a transaction", "signature", t.id(), "reason", errSignatureFailure)
		return t.id(), nil
	}
	return t.id(), land(t)
}

// preflight simulates t and turns a failure into -32002.
func (n *Node) preflight(t *wireTx, slot uint64) error {
	s, err := n.bank.simulate(t, slot, true)
	if err != nil || s.err == nil {
		return err
	}
	message := "Transaction simulation failed: " + s.err.String()
	if len(s.Logs) > 0 {
		message += " "
	}
	return &rpcError{codePreflight, message, n.bank.simulated(s, t, simulateConfig{})}
}

// land executes t in the open slot. The bank's lock must be held.
func (n *Node) land(t *wireTx) error { return n.bank.land(t, nil) }

// simulateConfig is what simulateTransaction takes.
type simulateConfig struct {
	contextConfig
	Encoding  string `json:"encoding"`
	SigVerify bool   `json:"sigVerify"`
	Replace   bool   `json:"replaceRecentBlockhash"`
	Inner     bool   `json:"innerInstructions"`
	Accounts  *struct {
		Encoding  string   `json:"encoding"`
		Addresses []string `json:"addresses"`
	} `json:"accounts"`
}

func simulateTransaction(f *Front, p params) (any, error) {
	var c simulateConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	t, err := decodeTx(p, c.Encoding)
	if err != nil {
		return nil, err
	}
	if c.SigVerify && c.Replace {
		return nil, rpcErrorf(codeParams, "sigVerify may not be used with replaceRecentBlockhash")
	}
	if c.SigVerify && !t.verify() {
		return nil, rpcErrorf(codeSignature, "Transaction signature verification failure")
	}
	f.n.bank.mu.Lock()
	defer f.n.bank.mu.Unlock()
	v := f.view()
	slot, err := v.slotFor(c.contextConfig)
	if err != nil {
		return nil, err
	}
	if c.Replace {
		if t, err = t.withBlockhash(first(v.hashFor(slot))); err != nil {
			return nil, err
		}
	}
	s, err := f.n.bank.simulate(t, slot, !c.Replace)
	if err != nil {
		return nil, err
	}
	result := f.n.bank.simulated(s, t, c)
	if c.Accounts != nil {
		if result["accounts"], err = f.n.bank.simulatedAccounts(s, c); err != nil {
			return nil, err
		}
	}
	return v.context(slot, result), nil
}

func first[T, U any](v T, _ U) T { return v }

// withBlockhash is the same transaction with another blockhash and stale signatures.
func (t *wireTx) withBlockhash(h solana.Hash) (*wireTx, error) {
	t.Message.RecentBlockhash = h
	raw, err := t.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("replace blockhash: %w", err)
	}
	return parseTx(raw)
}

// simulated is a simulation as the RPC shows it, the accounts asked for apart.
func (b *bank) simulated(s *simulation, t *wireTx, c simulateConfig) map[string]any {
	result := map[string]any{
		"err": s.err, "logs": s.Logs, "unitsConsumed": s.Units, "accounts": nil,
		"returnData": showReturned(s.outcome), "innerInstructions": nil, "replacementBlockhash": nil,
		"loadedAccountsDataSize": b.loadedSize(t, s.slot),
		"fee":                    nil, "preBalances": nil, "postBalances": nil, "preTokenBalances": nil, "postTokenBalances": nil,
		"loadedAddresses": showLoaded(t),
	}
	if s.pre != nil {
		result["fee"] = messageFee(&t.Message)
		result["preBalances"], result["postBalances"] = s.pre, s.postLam
		result["preTokenBalances"], result["postTokenBalances"] = showTokens(s.preTok), showTokens(s.postTok)
	}
	if c.Inner {
		result["innerInstructions"] = showInner(t, s.outcome, showInnerParsed)
	}
	if c.Replace {
		hash, last := b.hashFor(s.slot)
		result["replacementBlockhash"] = map[string]any{"blockhash": hash, "lastValidBlockHeight": last}
	}
	return result
}

// What counts as loaded beside an account's data, in bytes.
const (
	accountOverhead = 64
	tableLoaded     = 8248 // each lookup table, whatever its length
)

// loadedSize is the account data that t loads, in bytes, as the limit on it counts: an
// upgradeable program brings the account that holds its code.
func (b *bank) loadedSize(t *wireTx, slot uint64) int {
	size := tableLoaded * len(t.Message.AddressTableLookups)
	counted := map[solana.PublicKey]bool{}
	add := func(k solana.PublicKey) *Account {
		a := b.accounts.at(k, slot)
		if a == nil || counted[k] {
			return nil
		}
		counted[k] = true
		size += len(a.Data) + accountOverhead
		return a
	}
	var code []solana.PublicKey
	for _, k := range t.keys {
		a := add(k)
		if a != nil && a.Owner == solana.BPFLoaderUpgradeableProgramID && len(a.Data) == 36 && a.Data[0] == 2 {
			code = append(code, solana.PublicKeyFromBytes(a.Data[4:]))
		}
	}
	for _, k := range code {
		add(k)
	}
	return size
}

// simulatedAccounts shows the accounts asked for as the transaction would leave them.
func (b *bank) simulatedAccounts(s *simulation, c simulateConfig) (any, error) {
	if s.err != nil {
		return make([]any, len(c.Accounts.Addresses)), nil
	}
	encoding := c.Accounts.Encoding
	if encoding == "" {
		encoding = "base64"
	}
	if encoding == "binary" || encoding == "base58" {
		return nil, rpcErrorf(codeParams, "base58 encoding not supported")
	}
	list := make([]any, len(c.Accounts.Addresses))
	for i, text := range c.Accounts.Addresses {
		key, err := parseKey(text)
		if err != nil {
			return nil, err
		}
		a, written := s.post[key]
		if !written {
			a = b.account(key, s.slot)
		}
		if list[i], err = b.show(key, a, s.slot, accountConfig{Encoding: encoding}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// requestAirdrop sends lamports from the faucet by a transaction like any other.
func requestAirdrop(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var lamports uint64
	if err := p.into(1, &lamports); err != nil {
		return nil, err
	}
	var c struct {
		contextConfig
		Blockhash *solana.Hash `json:"recentBlockhash"`
	}
	if p.given(2) {
		if err := json.Unmarshal(p[2], &c); err != nil {
			return nil, invalid("parameter 2: %v", err)
		}
	}
	return f.n.airdrop(key, lamports, c.Blockhash)
}
