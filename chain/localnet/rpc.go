package localnet

import (
	"bytes"
	"encoding/json"
	"errors"
)

// handler answers one method. It returns what goes into "result", or an *rpcError;
// any other error becomes an internal one.
type handler func(f *Front, p params) (any, error)

// methods is every JSON-RPC method; README.md has the same list with its options.
var methods = map[string]handler{
	"getAccountInfo":                    getAccountInfo,
	"getAgGenesisCert":                  getAgGenesisCert,
	"getBalance":                        getBalance,
	"getBlock":                          getBlock,
	"getBlockCommitment":                getBlockCommitment,
	"getBlockHeight":                    getBlockHeight,
	"getBlockTime":                      getBlockTime,
	"getBlocks":                         getBlocks,
	"getBlocksWithLimit":                getBlocksWithLimit,
	"getClusterNodes":                   getClusterNodes,
	"getEpochInfo":                      getEpochInfo,
	"getEpochSchedule":                  getEpochSchedule,
	"getFeeForMessage":                  getFeeForMessage,
	"getFirstAvailableBlock":            getFirstAvailableBlock,
	"getGenesisHash":                    getGenesisHash,
	"getHealth":                         getHealth,
	"getIdentity":                       getIdentity,
	"getLatestBlockhash":                getLatestBlockhash,
	"getMinimumBalanceForRentExemption": getMinimumBalance,
	"getMultipleAccounts":               getMultipleAccounts,
	"getProgramAccounts":                getProgramAccounts,
	"getRecentPerformanceSamples":       getRecentPerformanceSamples,
	"getRecentPrioritizationFees":       getRecentPrioritizationFees,
	"getSignatureStatuses":              getSignatureStatuses,
	"getSignaturesForAddress":           getSignaturesForAddress,
	"getSlot":                           getSlot,
	"getSlotLeader":                     getSlotLeader,
	"getSlotLeaders":                    getSlotLeaders,
	"getSupply":                         getSupply,
	"getTokenAccountBalance":            getTokenAccountBalance,
	"getTokenAccountsByDelegate":        getTokenAccountsByDelegate,
	"getTokenAccountsByOwner":           getTokenAccountsByOwner,
	"getTokenLargestAccounts":           getTokenLargestAccounts,
	"getTokenSupply":                    getTokenSupply,
	"getTransaction":                    getTransaction,
	"getTransactionCount":               getTransactionCount,
	"getVersion":                        getVersion,
	"getVoteAccounts":                   getVoteAccounts,
	"isBlockhashValid":                  isBlockhashValid,
	"minimumLedgerSlot":                 getFirstAvailableBlock,
	"requestAirdrop":                    requestAirdrop,
	"sendTransaction":                   sendTransaction,
	"simulateTransaction":               simulateTransaction,
}

// request is one JSON-RPC call. ID is kept as it came.
type request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	Result  any             `json:"result"`
	ID      json.RawMessage `json:"id"`
}

type failure struct {
	Version string          `json:"jsonrpc"`
	Error   *rpcError       `json:"error"`
	ID      json.RawMessage `json:"id"`
}

// withContext is the result of the methods that say which slot they read.
type withContext struct {
	Context rpcContext `json:"context"`
	Value   any        `json:"value"`
}

type rpcContext struct {
	APIVersion string `json:"apiVersion"`
	Slot       uint64 `json:"slot"`
}

func inContext(slot uint64, value any) withContext {
	return withContext{rpcContext{apiVersion, slot}, value}
}

// caller answers one call; websockets answer more methods than HTTP.
type caller func(method string, p params) (any, error)

// answer answers a body: an object by an object, an array by an array. A notification
// (a call without id) has no answer; nil means that there is nothing to say.
func (f *Front) answer(body []byte, call caller) []byte {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '[' {
		return encodeAnswer(f.answerOne(body, call))
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil {
		return encode(failed(nil, rpcErrorf(codeParse, "Parse error")))
	}
	if len(batch) == 0 {
		return encode(failed(nil, rpcErrorf(codeRequest, "Invalid request")))
	}
	var answers []any
	for _, one := range batch {
		if a := f.answerOne(one, call); a != nil {
			answers = append(answers, a)
		}
	}
	if answers == nil {
		return nil
	}
	return encode(answers)
}

func encodeAnswer(a any) []byte {
	if a == nil {
		return nil
	}
	return encode(a)
}

func (f *Front) answerOne(body []byte, call caller) any {
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return failed(nil, rpcErrorf(codeParse, "Parse error"))
		}
		return failed(nil, rpcErrorf(codeRequest, "Invalid request"))
	}
	if req.Method == "" || req.Version != "2.0" {
		return failed(req.ID, rpcErrorf(codeRequest, "Invalid request"))
	}
	var p params
	if len(req.Params) > 0 && string(req.Params) != "null" {
		if err := json.Unmarshal(req.Params, &p); err != nil {
			return failed(req.ID, rpcErrorf(codeParams, "`params` should be an array"))
		}
	}
	result, err := call(req.Method, p)
	if req.ID == nil {
		return nil
	}
	if err == nil {
		return response{"2.0", result, orNull(req.ID)}
	}
	var rpcErr *rpcError
	if !errors.As(err, &rpcErr) {
		f.n.log.Error("answer a call", "method", req.Method, "err", err)
		rpcErr = rpcErrorf(codeInternal, "Internal error: %v", err)
	}
	return failed(req.ID, rpcErr)
}

func (f *Front) call(method string, p params) (any, error) {
	f.n.log.Debug("call", "method", method)
	h, ok := methods[method]
	if !ok {
		return nil, rpcErrorf(codeMethod, "Method not found")
	}
	return h(f, p)
}

func failed(id json.RawMessage, err *rpcError) failure { return failure{"2.0", err, orNull(id)} }

func orNull(id json.RawMessage) json.RawMessage {
	if len(id) == 0 {
		return json.RawMessage("null")
	}
	return id
}

// encode writes JSON without escaping <, > and &, which memos may contain.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		b.Reset()
		e.Encode(failed(nil, rpcErrorf(codeInternal, "Internal error: %v", err)))
	}
	return b.Bytes()
}

// notBelowConfirmed refuses `processed` for the methods that read sealed blocks only.
func (c contextConfig) notBelowConfirmed() error {
	if c.Commitment == processed {
		return rpcErrorf(codeParams, "Method does not support commitment below `confirmed`")
	}
	return nil
}

// read runs do on the state that a call's config asks for, under the read lock.
func (f *Front) read(p params, config int, do func(v *view, slot uint64) (any, error)) (any, error) {
	var c contextConfig
	if err := p.optional(config, &c); err != nil {
		return nil, err
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	slot, err := v.slotFor(c)
	if err != nil {
		return nil, err
	}
	return do(v, slot)
}
