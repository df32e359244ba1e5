package localnet

import (
	"github.com/gagliardetto/solana-go"
	"github.com/mr-tron/base58"
)

// showTx is a landed transaction as getTransaction and getBlock show it: transaction,
// meta and, for those who say which versions they know, version.
func showTx(r *record, c txConfig) (map[string]any, error) {
	version := r.tx.version()
	if v, ok := version.(int); ok && (c.MaxVersion == nil || *c.MaxVersion < v) {
		return nil, rpcErrorf(codeVersion, "Transaction version (%d) is not supported by the requesting client. "+
			"Please try the request again with the following configuration parameter: \"maxSupportedTransactionVersion\": %d", v, v)
	}
	shown := map[string]any{}
	if c.MaxVersion != nil {
		shown["version"] = version
	}
	if c.Details == "accounts" {
		shown["transaction"] = map[string]any{"signatures": r.tx.Signatures, "accountKeys": showKeys(r.tx)}
		shown["meta"] = showBalances(r)
		return shown, nil
	}
	meta := showBalances(r)
	inner := showInnerIndexed
	switch c.Encoding {
	case "json":
		shown["transaction"] = map[string]any{"signatures": r.tx.Signatures, "message": showMessage(r.tx)}
	case "jsonParsed":
		inner = showInnerParsed
		shown["transaction"] = map[string]any{"signatures": r.tx.Signatures, "message": parseMessageFor(r.tx)}
	case "base64":
		shown["transaction"] = [2]string{encodeBase64(r.tx.raw), "base64"}
	case "base58":
		shown["transaction"] = [2]string{base58.Encode(r.tx.raw), "base58"}
	case "binary":
		shown["transaction"] = base58.Encode(r.tx.raw)
	default:
		return nil, invalid("unknown encoding %q, expected json, jsonParsed, base58 or base64", c.Encoding)
	}
	meta["innerInstructions"] = showInner(r.tx, r.outcome, inner)
	meta["logMessages"] = r.Logs
	meta["rewards"] = []any{}
	meta["computeUnitsConsumed"] = r.Units
	if ret := showReturned(r.outcome); ret != nil {
		meta["returnData"] = ret
	}
	if c.Encoding != "jsonParsed" {
		meta["loadedAddresses"] = showLoaded(r.tx)
	}
	shown["meta"] = meta
	return shown, nil
}

// showBalances is the part of a transaction's meta that every detail level has.
func showBalances(r *record) map[string]any {
	return map[string]any{
		"err": r.err, "status": showErr(r.err), "fee": r.fee,
		"preBalances": r.pre, "postBalances": r.post,
		"preTokenBalances": showTokens(r.preTok), "postTokenBalances": showTokens(r.postTok),
	}
}

type shownTokens struct {
	AccountIndex int              `json:"accountIndex"`
	Mint         solana.PublicKey `json:"mint"`
	Owner        solana.PublicKey `json:"owner"`
	ProgramID    solana.PublicKey `json:"programId"`
	Amount       tokenAmount      `json:"uiTokenAmount"`
}

func showTokens(list []tokenBalance) []shownTokens {
	shown := make([]shownTokens, len(list))
	for i, b := range list {
		shown[i] = shownTokens{b.index, b.mint, b.owner, b.program, showAmount(b.amount, b.decimal)}
	}
	return shown
}

func showReturned(o outcome) any {
	if o.Returned == nil {
		return nil
	}
	return map[string]any{
		"programId": solana.PublicKeyFromBytes(o.Returned.Program),
		"data":      [2]string{encodeBase64(o.Returned.Data), "base64"},
	}
}

func showLoaded(t *wireTx) any {
	return map[string]any{"writable": notNil(t.loadedW), "readonly": notNil(t.loadedR)}
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

type shownKey struct {
	Pubkey   solana.PublicKey `json:"pubkey"`
	Signer   bool             `json:"signer"`
	Source   string           `json:"source"`
	Writable bool             `json:"writable"`
}

func showKeys(t *wireTx) []shownKey {
	keys := make([]shownKey, len(t.keys))
	for i, k := range t.keys {
		source := "transaction"
		if i >= len(t.Message.AccountKeys) {
			source = "lookupTable"
		}
		keys[i] = shownKey{k, t.signer(i), source, t.writable(i)}
	}
	return keys
}

// shownInstruction is an instruction whose accounts are indexes of the message's keys.
type shownInstruction struct {
	ProgramIDIndex uint16   `json:"programIdIndex"`
	Accounts       []uint16 `json:"accounts"`
	Data           string   `json:"data"`
	StackHeight    uint8    `json:"stackHeight"`
}

// showMessage is the json encoding of a message.
func showMessage(t *wireTx) map[string]any {
	m := &t.Message
	instructions := make([]shownInstruction, len(m.Instructions))
	for i, ix := range m.Instructions {
		instructions[i] = shownInstruction{ix.ProgramIDIndex, notNil(ix.Accounts), base58.Encode(ix.Data), 1}
	}
	shown := map[string]any{
		"accountKeys": m.AccountKeys, "recentBlockhash": m.RecentBlockhash, "instructions": instructions,
		"header": map[string]uint8{
			"numRequiredSignatures":       m.Header.NumRequiredSignatures,
			"numReadonlySignedAccounts":   m.Header.NumReadonlySignedAccounts,
			"numReadonlyUnsignedAccounts": m.Header.NumReadonlyUnsignedAccounts,
		},
	}
	showVersioned(shown, t)
	return shown
}

// showVersioned adds what only a v0 or a v1 message has.
func showVersioned(shown map[string]any, t *wireTx) {
	switch t.Message.GetVersion() {
	case solana.MessageVersionV0:
		lookups := []any{}
		for _, l := range t.Message.AddressTableLookups {
			lookups = append(lookups, map[string]any{
				"accountKey": l.AccountKey, "writableIndexes": numbers(l.WritableIndexes), "readonlyIndexes": numbers(l.ReadonlyIndexes),
			})
		}
		shown["addressTableLookups"] = lookups
	case solana.MessageVersionV1:
		shown["transactionConfig"] = t.Message.TransactionConfig
	}
}

// numbers keeps bytes from becoming base64 in JSON.
func numbers(b []byte) []uint16 {
	list := make([]uint16, len(b))
	for i, v := range b {
		list[i] = uint16(v)
	}
	return list
}

// showInner shows the cross-program calls of each instruction that made some.
func showInner(t *wireTx, o outcome, show func(*wireTx, innerInstruction) any) []any {
	shown := []any{}
	for i, calls := range o.Inner {
		if len(calls) == 0 {
			continue
		}
		list := make([]any, len(calls))
		for j, c := range calls {
			list[j] = show(t, c)
		}
		shown = append(shown, map[string]any{"index": i, "instructions": list})
	}
	return shown
}

func showInnerIndexed(_ *wireTx, c innerInstruction) any {
	return shownInstruction{uint16(c.Program), numbers(c.Accounts), base58.Encode(c.Data), c.Height}
}

func showInnerParsed(t *wireTx, c innerInstruction) any {
	return showParsed(t, uint16(c.Program), numbers(c.Accounts), c.Data, c.Height)
}

// parseMessageFor is the jsonParsed encoding of a message.
func parseMessageFor(t *wireTx) map[string]any {
	instructions := make([]any, len(t.Message.Instructions))
	for i, ix := range t.Message.Instructions {
		instructions[i] = showParsed(t, ix.ProgramIDIndex, ix.Accounts, ix.Data, 1)
	}
	shown := map[string]any{
		"accountKeys": showKeys(t), "recentBlockhash": t.Message.RecentBlockhash, "instructions": instructions,
	}
	showVersioned(shown, t)
	return shown
}

// showParsed shows an instruction in words when its program has a parser and the data
// is what that program understands, else with addresses instead of indexes.
func showParsed(t *wireTx, program uint16, accounts []uint16, data []byte, height uint8) any {
	id := t.keys[program]
	keys := make([]solana.PublicKey, len(accounts))
	for i, a := range accounts {
		keys[i] = t.keys[a]
	}
	if name, parsed, ok := parseInstruction(id, keys, data); ok {
		return map[string]any{"program": name, "programId": id, "parsed": parsed, "stackHeight": height}
	}
	return map[string]any{"programId": id, "accounts": keys, "data": base58.Encode(data), "stackHeight": height}
}
