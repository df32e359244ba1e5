package localnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// maxBody bounds a request: a batch of a few hundred calls.
const maxBody = 4 << 20

// handler answers one method. It returns what goes into "result", or an *rpcError;
// any other error becomes an internal one.
type handler func(n *Node, p params) (any, error)

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

// serveHTTP answers a POST with one call or a batch of them, CORS preflights, and
// /health; browsers of any origin may ask, as at a validator.
func (n *Node) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case isUpgrade(r):
		n.serveWS(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/health":
		io.WriteString(w, "ok")
	case r.Method != http.MethodPost:
		http.Error(w, "Used HTTP Method is not allowed. POST or OPTIONS is required", http.StatusMethodNotAllowed)
	default:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "request body is too large or cut", http.StatusRequestEntityTooLarge)
			return
		}
		h.Set("Content-Type", "application/json; charset=utf-8")
		w.Write(n.answer(body, n.call))
	}
}

// caller answers one call; websockets answer more methods than HTTP.
type caller func(method string, p params) (any, error)

// answer answers a body: an object by an object, an array by an array. A notification
// (a call without id) has no answer; nil means that there is nothing to say.
func (n *Node) answer(body []byte, call caller) []byte {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '[' {
		return encodeAnswer(n.answerOne(body, call))
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
		if a := n.answerOne(one, call); a != nil {
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

func (n *Node) answerOne(body []byte, call caller) any {
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
		n.log.Error("answer a call", "method", req.Method, "err", err)
		rpcErr = rpcErrorf(codeInternal, "Internal error: %v", err)
	}
	return failed(req.ID, rpcErr)
}

func (n *Node) call(method string, p params) (any, error) {
	n.log.Debug("call", "method", method)
	h, ok := methods[method]
	if !ok {
		return nil, rpcErrorf(codeMethod, "Method not found")
	}
	return h(n, p)
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

// slotFor returns the slot that a call reads, or -32016 when the caller has seen a
// newer one. The bank's lock must be held.
func (n *Node) slotFor(c contextConfig) (uint64, error) {
	slot := n.bank.slotAt(c.Commitment)
	if c.MinContextSlot != nil && slot < *c.MinContextSlot {
		return 0, &rpcError{codeContextSlot, "Minimum context slot has not been reached", map[string]uint64{"contextSlot": slot}}
	}
	return slot, nil
}

// notBelowConfirmed refuses `processed` for the methods that read sealed blocks only.
func (c contextConfig) notBelowConfirmed() error {
	if c.Commitment == processed {
		return rpcErrorf(codeParams, "Method does not support commitment below `confirmed`")
	}
	return nil
}

// read runs f on the state that a call's config asks for, under the read lock.
func (n *Node) read(p params, config int, f func(slot uint64) (any, error)) (any, error) {
	var c contextConfig
	if err := p.optional(config, &c); err != nil {
		return nil, err
	}
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	slot, err := n.slotFor(c)
	if err != nil {
		return nil, err
	}
	return f(slot)
}
