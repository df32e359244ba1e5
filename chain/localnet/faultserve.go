package localnet

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// serve runs a struck request's calls if they are to run, and answers it.
func (x *Fault) serve(f *Front, w http.ResponseWriter, r *http.Request, body []byte) {
	var answer []byte
	if x.runs() {
		answer = f.answer(body, func(method string, p params) (any, error) { return x.call(f, method, p) })
	}
	if x.DelayMS > 0 {
		wait(f, r, time.Duration(x.DelayMS)*time.Millisecond)
	}
	switch x.Answer {
	case Truth:
		w.Write(answer)
	case TooMany:
		if x.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(x.RetryAfter))
		}
		w.WriteHeader(http.StatusTooManyRequests)
		w.Write(encode(failed(nil, rpcErrorf(429, "Too many requests for a specific RPC call"))))
	case Status:
		w.WriteHeader(orElse(x.Status, http.StatusInternalServerError))
	case HTML:
		code := orElse(x.Status, http.StatusBadGateway)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		fmt.Fprintf(w, "<html><head><title>%d %s</title></head><body>balancer</body></html>\n", code, http.StatusText(code))
	case Cut:
		w.Write(answer[:len(answer)/2])
	case Hang:
		wait(f, r, 0)
		panic(http.ErrAbortHandler)
	case Reset:
		reset(w)
	case Lost:
		panic(http.ErrAbortHandler) // net/http closes the connection and says nothing
	case ErrorAnswer:
		w.Write(f.answer(body, func(string, params) (any, error) {
			return nil, &rpcError{Code: x.Code, Message: x.Message, Data: orNothing(x.Data)}
		}))
	}
}

func orElse(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

func orNothing(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return raw
}

// wait returns after d, or when the client or the node is gone; 0 is for ever.
func wait(f *Front, r *http.Request, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-r.Context().Done():
	case <-f.n.ended.Done():
	}
}

// reset ends the connection as a machine does that knows nothing of it.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// call runs one call of a struck request.
func (x *Fault) call(f *Front, method string, p params) (any, error) {
	if method != "sendTransaction" || !x.meant([]string{method}) {
		return f.call(method, p)
	}
	b := f.n.bank
	switch x.Do {
	case Drop:
		return f.send(p, func(*wireTx) error { return nil })
	case Hold, HoldLast:
		return f.send(p, func(t *wireTx) error {
			b.hold(held{tx: t, slot: b.open() + x.After, last: x.Do == HoldLast, failure: x.Error.err})
			return b.landHeld()
		})
	case Fail:
		return f.send(p, func(t *wireTx) error { return b.land(t, x.Error.orDefault()) })
	case Stale:
		return nil, refusal(errBlockhashNotFound)
	case Broke:
		return nil, refusal(errShortOfFee)
	case Twice:
		if _, err := f.call(method, p); err != nil {
			return nil, err
		}
	}
	return f.call(method, p)
}

// refusal is a failed preflight that never reached the virtual machine.
func refusal(err *txError) *rpcError {
	return &rpcError{codePreflight, "Transaction simulation failed: " + err.text, map[string]any{
		"err": err, "logs": []string{}, "unitsConsumed": 0, "accounts": nil, "returnData": nil, "innerInstructions": nil,
	}}
}
