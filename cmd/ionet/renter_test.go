package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/openaiclient"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/meter"
)

// TestRenter is a renter's life: OpenAI's own client speaks to ionet proxy, which pays a
// real worker out of a session; all of it by commands.
func TestRenter(t *testing.T) {
	w := openTown(t)
	wallet := w.renter("0.5")
	w.sell(echo(t))
	with := func(args ...string) []string { return append(args, "--server", w.server) }
	renter := w.walletOf(wallet)
	session := filepath.Join(w.dir, "session.json")

	w.refuses(with("session", "open", "--keypair", wallet, "--key-out", session, "--reserve", "1000"), "the reserve is 1000.00000000 IO (100000000000 base units)")
	if left, err := filepath.Glob(session + "*"); err != nil || len(left) > 0 {
		t.Errorf("a refused session leaves %v, %v", left, err)
	}
	w.refuses(with("session", "open", "--keypair", wallet, "--key-out", session, "--reserve", "1000"), "pay in with ionet deposit, or reserve less")
	nope := filepath.Join(w.dir, "nope.json")
	for _, args := range [][]string{{"proxy"}, {"session", "close"}, {"channel", "list"}, {"receipt", strings.Repeat("0", 32)}} {
		w.refuses(with(append(args, "--session", nope)...), "nope.json")
	}
	if left, err := filepath.Glob(nope + "*"); err != nil || len(left) > 0 {
		t.Errorf("a session that is not there leaves %v, %v", left, err)
	}
	open := with("session", "open", "--keypair", wallet, "--key-out", session, "--reserve", "0.25", "--cap", "talker=0.00002/1000", "--cap", "vectors=0.001/1", "--cap", "painter=0.001/1", "--cap", "rented=0.00001/1")
	w.says(open, `^io-settlement v1: session$`, `^Renter: `+renter+`$`, `^Price cap: talker 2000 per 1000$`, `^session [0-9a-f]{64} is open: 0\.25000000 IO until `, `^next: ionet proxy `)
	w.says(open, `^session [0-9a-f]{64} is open: `) // once more is the same one
	w.refuses(with("session", "open", "--keypair", wallet, "--key-out", session, "--reserve", "0.1"), "holds session")
	w.says(with("session", "show", "--session", session), `^session [0-9a-f]{64} open$`, `reserve +0\.25000000 IO`, `price cap +talker: 0\.00002000 IO per 1000`)
	w.says(with("channel", "list", "--session", session), `has no channels yet`)
	w.eventually("the worker's offer is listed", func() bool { out, _ := w.do(with("offers")...); return strings.Contains(out, "talker") })
	w.says(with("offers"), `^model +IO +per +IO per GPU-hour +capacity`, `^talker +0\.015 +1,000,000 tokens +- +64 +`+public("worker").String(), `^painter +0\.0004 +image +- `, `^rented +~0\.0000004285\d+ +second +~0\.001542857\d+ `)
	w.says(with("offers", "--model", "nothing"), `^nobody offers nothing just now$`)

	proxy, base := w.begin(`^serving OpenAI's API at (\S+)$`, with("proxy", "--session", session, "--listen", "127.0.0.1:0", "--max-fee", "0.0015")...)
	jobs := w.speaks(base)
	jobs = append(jobs, w.leaves(base))
	w.refuses(with("session", "close", "--session", session), "stop ionet proxy first")
	if err := proxy.stop(); err != nil {
		t.Fatalf("proxy: %v\n%s", err, &proxy.errs)
	}
	w.withoutService(session)
	kept, err := client.ReadReceipts(session + ".purse")
	w.check(err)
	for _, job := range jobs {
		if !slices.ContainsFunc(kept, func(k client.KeptReceipt) bool { return k.Job.String() == job }) {
			t.Errorf("no receipt is kept of job %s", job)
		}
	}
	w.says(with("channel", "list", "--session", session), `^channel +worker +state +limit`, ` `+public("worker").String()+` +open +`)
	for _, k := range kept {
		w.eventually("receipt of job "+k.Job.String()+" is sealed", func() bool {
			out, err := w.do(with("receipt", k.Job.String())...)
			return err == nil && strings.Contains(out, ": sealed")
		})
	}

	// Receipts: shown, verified against signatures and the chain, saved, verified by nobody's leave.
	first := jobs[0]
	w.says(with("receipt", first), `^receipt \d+: sealed$`, `^  job +`+first+`$`, `^  model +talker: 15 tokens at 0\.00001500 IO per 1000$`, `^  fee +0\.00000023 IO$`, `^  renter +`+renter+`$`)
	saved := filepath.Join(w.dir, "receipt.proof")
	w.says(with("receipt", first, "--session", session, "--verify", "--rpc", w.rpc, "--save", saved), `^ok record +leaf \d+ is [0-9a-f]{64}$`, `^ok statement +worker `+public("worker").String()+` signed it`,
		`^ok voucher +wallet `+renter+` signed session [0-9a-f]{64}, whose key signed for `, `^ok split +0\.000000\d\d IO to the payee and 0\.000000\d\d IO to the network are the fee of 0\.00000023 IO$`,
		`^ok own copy +statement [0-9a-f]{64} is the one that came`, `^ok checkpoint +it is in the log of \d+ leaves`, `^ok seal +it is in the log of \d+ leaves, root [0-9a-f]{64}, sealed by transaction`, `^ok chain +transaction \S+ is final in slot \d+`, `^verified$`)
	w.says(with("receipt", first, "--verify"), `^ok seal `, `^-- chain +not asked`, `^verified, but for the chain: give --rpc$`)
	w.unsealed(first, saved)
	w.refuses(with("receipt", first, "--save", saved), "exists and is not overwritten")
	w.says([]string{"receipt", first, "--verify", "--seal", saved}, `^-- chain +not asked`, `^verified, but for the chain: give --rpc$`)
	w.refuses([]string{"receipt", jobs[1], "--verify", "--seal", saved}, "the receipt is of job "+first)
	w.forgeries(first, saved)
	w.refuses([]string{"receipt", first}, "--server is missing")
	w.refuses(with("receipt", "xyz"), "xyz is no id")
	w.refuses(with("receipt", strings.Repeat("0", 32)), client.UnknownReceipt)
	w.refuses(with("receipt", strings.Repeat("0", 32)), "never where Ionet-Fee is 0")
	w.refuses(with("receipt", strings.Repeat("0", 32), "--session", session), "nor does the purse in "+session+".purse keep such a job")

	// A seal or a checkpoint of one's own is enough.
	var p proven
	b, err := os.ReadFile(saved)
	w.check(err)
	w.check(json.Unmarshal(b, &p))
	memo, note := filepath.Join(w.dir, "memo"), filepath.Join(w.dir, "note")
	w.check(os.WriteFile(memo, []byte(p.Receipt.Sealed.Memo+"\n"), 0o600))
	w.check(os.WriteFile(note, []byte(p.Receipt.Published.Note), 0o600))
	w.says(with("receipt", first, "--verify", "--seal", memo), `^ok --seal +it is in the log of \d+ leaves`)
	w.says(with("receipt", first, "--verify", "--seal", note), `^ok --seal +it is in the log of \d+ leaves`)

	w.refuses(with("dispute", first, "--keypair", wallet, "--session", session), "has no contradiction")
	w.refuses(with("dispute", first, "--keypair", wallet), "--session is missing")
	w.contradicts(session, kept[0])
	dispute := w.says(with("dispute", kept[0].Job.String(), "--keypair", wallet, "--session", session), `^io-settlement v1: dispute$`, `^dispute [0-9a-f]{64} of \S+: contradiction$`, `it signed both: the evidence is public as /files/\S+$`)
	id := regexp.MustCompile(`(?m)^dispute ([0-9a-f]{64})`).FindStringSubmatch(dispute)[1]
	w.says(with("dispute", "--status", id), `^dispute `+id+` of \S+: contradiction$`)
	w.refuses(with("receipt", kept[0].Job.String(), "--session", session, "--verify"), "ionet dispute makes both public")
	w.refuses(with("dispute", strings.Repeat("0", 32), "--keypair", wallet, "--session", session), "the purse keeps nothing")

	spent := uint64(0)
	for _, k := range kept {
		spent += k.Fee.Base()
	}
	w.says(with("balance", "--wallet", renter), `prepaid, unspent +0\.25000000 IO`, `in sessions +`+regexp.QuoteMeta(ionet.MustAmount(25_000_000-spent).Tokens(8))+` IO`)
	w.says(with("balance", "--wallet", renter), `^ *fees earned +0\.00\d{5}[1-9] +IO`, `^ *fees paid +0\.`, `^ *fees in flight +0\.`, `^ *fees owed +0\.`)
	w.says(with("balance", "--wallet", renter, "--json"), `"fees_earned": "\d*[1-9]\d*"`, `"fees_owed": "`, `"fees_paid": "`, `"fees_in_flight": "`)
	w.says(with("earnings", "--provider", renter), `^fees of inferences are not among these: 0\.00\d+ IO up to now, see ionet balance$`)
	w.says(with("balance", "--wallet", renter, "--json"), `"reserved": "`+ionet.MustAmount(25_000_000-spent).String()+`"`, `"decimals": 8`)
	// The town's clock is ahead, and a signed request is good for five minutes.
	ahead := w.now.Swap(time.Now().Unix())
	w.says(with("history", "--keypair", wallet), `^time +what +IO`, ` deposit +\+ +0\.50000000 +credited`, ` session +- +0\.25000000 +open`, ` receipt +\(-\) +0\.00000023 +leaf \d+ +`+first+` +15 tokens of talker$`)
	w.inOrder(with("history", "--keypair", wallet, "--json"), "deposit", "session", "receipt")
	w.says(with("history", "--session", session, "--json"), `"what": "receipt"`)
	w.now.Store(ahead)
	w.says(with("history", "--wallet", renter), `receipts are for the wallet's eyes`)

	channel := kept[0].Channel.String()
	w.says(with("channel", "close", "--session", session, "--channel", channel), `^channel `+channel+` is closing: `)
	w.says(with("session", "close", "--session", session), `^session [0-9a-f]{64} is closing`)
	w.says(with("session", "show", "--wallet", renter), `^session [0-9a-f]{64} closing$`, `closing since`)
	w.elsewhere(wallet)
}

// TestRenterBatch: a job that went into a batch is proven through both trees, and a proof
// of another job is none.
func TestRenterBatch(t *testing.T) {
	w := openTown(t)
	wallet := w.renter("0.5")
	w.sell(echo(t), func(c *meter.Config) { c.BatchJobs, c.BatchEvery = 3, time.Hour })
	with := func(args ...string) []string { return append(args, "--server", w.server) }
	session := filepath.Join(w.dir, "session.json")
	w.says(with("session", "open", "--keypair", wallet, "--key-out", session, "--reserve", "0.25"), `is open`)
	w.eventually("the worker's offer is listed", func() bool { out, _ := w.do(with("offers")...); return strings.Contains(out, "talker") })
	proxy, base := w.begin(`^serving OpenAI's API at (\S+)$`, with("proxy", "--session", session, "--listen", "127.0.0.1:0")...)
	c, err := openaiclient.Start(t.Context(), base)
	w.check(err)
	defer c.Close()
	var jobs []string
	for i := range 3 {
		a, err := c.Do(chatWith("talker", fmt.Sprintf("number %d", i), nil))
		w.check(err)
		jobs = append(jobs, a.Headers["ionet-job"])
		if i == 0 {
			w.refuses(with("receipt", jobs[0], "--session", session), "has not handed the job in yet")
		}
	}
	w.check(proxy.stop())
	w.refuses(with("receipt", jobs[1]), "one that went into a batch is found with --session")
	w.eventually("the batch is sealed", func() bool {
		out, err := w.do(with("receipt", jobs[1], "--session", session)...)
		return err == nil && strings.Contains(out, ": sealed")
	})
	saved := filepath.Join(w.dir, "receipt.proof")
	w.says(with("receipt", jobs[1], "--session", session, "--verify", "--rpc", w.rpc, "--save", saved), `^  batch +[0-9a-f]{32} of 3 jobs$`,
		`^ok statement +worker \S+ signed the batch; the job is number 2 of its 3$`, `^ok seal `, `^ok chain `, `^verified$`)
	w.says([]string{"receipt", jobs[1], "--verify", "--seal", saved}, `the job is number 2 of its 3$`, `^verified, but for the chain: give --rpc$`)
	b, err := os.ReadFile(saved)
	w.check(err)
	forged := filepath.Join(w.dir, "forged")
	w.check(os.WriteFile(forged, []byte(strings.Replace(string(b), `"index": 1`, `"index": 2`, 1)), 0o600))
	w.refuses([]string{"receipt", jobs[1], "--verify", "--seal", forged}, "check job of a batch")
	w.says(with("history", "--wallet", w.walletOf(wallet)), ` session +- +0\.25000000 +open`)
}

// unsealed: a receipt that is published and under no seal yet is told to be that.
func (w *town) unsealed(job, saved string) {
	w.t.Helper()
	b, err := os.ReadFile(saved)
	w.check(err)
	var p proven
	w.check(json.Unmarshal(b, &p))
	p.Receipt.Sealed, p.Receipt.State = nil, client.ReceiptPublished
	b, err = json.Marshal(p)
	w.check(err)
	early, again := filepath.Join(w.t.TempDir(), "early.proof"), filepath.Join(w.t.TempDir(), "again.proof")
	w.check(os.WriteFile(early, b, 0o600))
	w.says([]string{"receipt", job, "--verify", "--seal", early, "--save", again}, `^-- chain +the receipt is under no seal yet; the next one comes by the service's schedule`, `^verified, but for the chain: the receipt is under no seal yet`, `^saved in .*, without a seal: `)
	w.refuses([]string{"receipt", job, "--verify", "--seal", early, "--rpc", w.rpc}, "chain: the receipt is under no seal yet; the next one comes by the service's schedule")
}

// inOrder: a renter's history ascends, each kind begins after the one before, and a
// session's time is the service's, not the one that its signer wrote.
func (w *town) inOrder(args []string, kinds ...string) {
	w.t.Helper()
	var list []happening
	w.check(json.Unmarshal([]byte(w.says(args)), &list))
	last, at := int64(0), -1
	for _, h := range list {
		if h.Time < last {
			w.t.Errorf("%s of %d comes after one of %d", h.What, h.Time, last)
		}
		last = h.Time
		if i := slices.Index(kinds, h.What); i > at+1 || i < 0 {
			w.t.Errorf("%s comes before any %s", h.What, kinds[at+1])
		} else {
			at = max(at, i)
		}
		if h.What != "session" {
			continue
		}
		out := w.says([]string{"session", "show", "--server", w.server, "--id", h.ID, "--json"})
		var shown []client.Session
		w.check(json.Unmarshal([]byte(out), &shown))
		if shown[0].Accepted != h.Time || shown[0].Accepted == shown[0].Issued {
			w.t.Errorf("session %s was accepted at %d, issued at %d, and is listed at %d", h.ID, shown[0].Accepted, shown[0].Issued, h.Time)
		}
	}
	if at != len(kinds)-1 {
		w.t.Errorf("the history has no %s", kinds[at+1])
	}
}

// forgeries: nothing of a saved receipt can be changed without verify saying so.
func (w *town) forgeries(job, saved string) {
	w.t.Helper()
	b, err := os.ReadFile(saved)
	w.check(err)
	for name, forge := range map[string]func(*proven){
		"record":        func(p *proven) { p.Receipt.Record[40] ^= 1 },
		"last byte":     func(p *proven) { p.Receipt.Record[len(p.Receipt.Record)-1] ^= 1 },
		"index":         func(p *proven) { p.Receipt.Index++ },
		"session":       func(p *proven) { p.Session[len(p.Session)-1] ^= 1 },
		"channel":       func(p *proven) { p.Channel[150] ^= 1 },
		"proof":         func(p *proven) { p.Receipt.Published.Proof[0][0] ^= 1 },
		"note":          func(p *proven) { p.Receipt.Published.Note = strings.Replace(p.Receipt.Published.Note, "\n", "\n1", 1) },
		"proof to seal": func(p *proven) { p.Receipt.Sealed.Proof[0][0] ^= 1 },
		"seal":          func(p *proven) { p.Receipt.Sealed.Memo = strings.Replace(p.Receipt.Sealed.Memo, "size=", "size=1", 1) },
		"kept":          func(p *proven) { p.Kept.ID[0] ^= 1 },
		"network":       func(p *proven) { p.Network = append(p.Network, '\n') },
	} {
		var p proven
		w.check(json.Unmarshal(b, &p))
		forge(&p)
		forged, err := json.Marshal(p)
		w.check(err)
		file := filepath.Join(w.t.TempDir(), "forged")
		w.check(os.WriteFile(file, forged, 0o600))
		if out, err := w.do("receipt", job, "--verify", "--seal", file); err == nil {
			w.t.Errorf("forged %s verifies:\n%s", name, out)
		}
	}
}

// elsewhere opens a session of a wallet that is no file: its app signs the text.
func (w *town) elsewhere(wallet string) {
	w.t.Helper()
	secret, err := chain.ReadKeypair(wallet)
	w.check(err)
	key, text, renter := filepath.Join(w.dir, "phone.json"), filepath.Join(w.dir, "session.txt"), chain.PublicOf(secret).String()
	open := []string{"session", "open", "--server", w.server, "--renter", renter, "--key-out", key}
	printed := w.says(append(open, "--reserve", "0.01"), `^io-settlement v1: session$`, `^This key may spend up to the reserve from my balance\.$`)
	w.check(os.WriteFile(text, []byte(printed+"\n"), 0o600))
	signature := chain.Signature(ed25519.Sign(secret, []byte(printed))).String()
	w.refuses(append(open, "--text-file", text, "--signature", signature, "--reserve", "1"), "leave --reserve and --cap out")
	w.refuses(append(open, "--text-file", text), "--signature and --text-file go together")
	w.says(append(open, "--text-file", text, "--signature", signature), `^session [0-9a-f]{64} is open: 0\.01000000 IO`)
	w.says([]string{"session", "close", "--server", w.server, "--session", key}, `is closing`)
}

// leaves has a caller hang up in the middle of a stream, and returns the job: what was
// made until then is paid, and its receipt is had from the worker.
func (w *town) leaves(base string) (job string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	body := `{"model":"talker","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("many words ", 20) + `"}]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/chat/completions", strings.NewReader(body))
	w.check(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	w.check(err)
	_, err = io.ReadFull(resp.Body, make([]byte, 50))
	w.check(err)
	cancel()
	resp.Body.Close()
	job = resp.Header.Get(client.JobHeader)
	w.eventually("the worker tells what became of the stream", func() bool {
		kept, err := client.ReadReceipts(filepath.Join(w.dir, "session.json.purse"))
		return err == nil && slices.ContainsFunc(kept, func(k client.KeptReceipt) bool { return k.Job.String() == job && !k.Fee.IsZero() })
	})
	return job
}

// withoutService starts a proxy whose service does not answer, with a key that callers
// must have: what the purse knows is enough.
func (w *town) withoutService(session string) {
	w.t.Helper()
	proxy, base := w.begin(`^serving OpenAI's API at (\S+)$`, "proxy", "--server", "http://127.0.0.1:1", "--session", session, "--listen", "127.0.0.1:0", "--api-key", "sesame")
	defer proxy.stop()
	ask := func(key, host, media string) (int, string) {
		req, err := http.NewRequest(http.MethodPost, base+"/chat/completions", strings.NewReader(`{"model":"talker","messages":[{"role":"user","content":"alone"}]}`))
		w.check(err)
		req.Host = host
		req.Header.Set("Content-Type", media)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		w.check(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		w.check(err)
		return resp.StatusCode, string(b)
	}
	for _, c := range []struct {
		key, host, media string
		status           int
		want             string
	}{
		{"sesame", "localhost", "application/json", 200, "You said: alone"},
		{"simsim", "localhost", "application/json", 401, "invalid_api_key"},
		{"sesame", "rebound.example", "application/json", 403, "not called rebound.example"},
		{"sesame", "localhost", "text/plain", 415, "want application/json"},
	} {
		if status, body := ask(c.key, c.host, c.media); status != c.status || !strings.Contains(body, c.want) {
			w.t.Errorf("%+v: got %d %s", c, status, body)
		}
	}
}

// contradicts has the worker sign a second statement for a job, and gives it to the
// renter's purse in place of the first.
func (w *town) contradicts(session string, k client.KeptReceipt) {
	w.t.Helper()
	e, err := oneEnvelope(k.Statement)
	w.check(err)
	j, err := proofs.ParseJob(e.Body)
	w.check(err)
	j.Response[0] ^= 1
	body, err := j.Encode()
	w.check(err)
	e = proofs.Sign(w.network.ID(), proofs.KindJob, key("worker"), body)
	k.ID, k.Response, k.Statement = e.ID(), j.Response, e.Append(nil)
	line, err := json.Marshal(k)
	w.check(err)
	w.check(os.RemoveAll(session + ".purse/receipts"))
	w.check(os.Mkdir(session+".purse/receipts", 0o700))
	w.check(os.WriteFile(session+".purse/receipts/2026-01-01.jsonl", append(line, '\n'), 0o600))
}

// speaks has OpenAI's client try all that the proxy serves, and returns the jobs.
func (w *town) speaks(base string) (jobs []string) {
	t := w.t
	t.Helper()
	c, err := openaiclient.Start(t.Context(), base)
	w.check(err)
	defer c.Close()
	do := func(call openaiclient.Call) openaiclient.Answer {
		t.Helper()
		a, err := c.Do(call)
		w.check(err)
		return a
	}
	good := func(call openaiclient.Call) openaiclient.Answer {
		t.Helper()
		a := do(call)
		if !a.OK || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(a.Headers["ionet-job"]) {
			t.Fatalf("%s: %+v", call.Name, a)
		}
		jobs = append(jobs, a.Headers["ionet-job"])
		return a
	}
	if a := do(openaiclient.Call{Name: "models"}); !a.OK || strings.Join(a.Models, " ") != "painter rented talker vectors" {
		t.Errorf("models: %+v", a)
	}
	a := good(chatWith("talker", "hello there", map[string]any{"max_tokens": 64}))
	if a.Text != "You said: hello there" || a.Usage == nil || a.Usage.Total != 15 || a.Headers["ionet-fee"] != "23" { // ceil(15 * 1.5)
		t.Errorf("chat: %+v, usage %+v", a, a.Usage)
	}
	for _, usage := range []bool{false, true} {
		more := map[string]any{"stream": true}
		if usage {
			more["stream_options"] = map[string]any{"include_usage": true}
		}
		if a := good(chatWith("talker", "one two three", more)); a.Text != "You said: one two three" || a.Chunks < 5 || (a.Usage != nil) != usage {
			t.Errorf("stream: %+v", a)
		}
	}
	if a := good(openaiclient.Call{Name: "completion", Params: map[string]any{"model": "talker", "prompt": "tell"}}); a.Text != "You said: tell" {
		t.Errorf("completion: %+v", a)
	}
	if a := good(openaiclient.Call{Name: "embedding", Params: map[string]any{"model": "vectors", "input": []string{"a", "b"}, "encoding_format": "float"}}); a.Items != 2 || a.Dimensions != 3 || a.Headers["ionet-fee"] != "28" {
		t.Errorf("embedding: %+v", a)
	}
	if a := good(openaiclient.Call{Name: "image", Params: map[string]any{"model": "painter", "prompt": "a cat", "n": 2}}); a.Items != 2 || a.Bytes[0] != 5 || a.Headers["ionet-fee"] != "80000" {
		t.Errorf("image: %+v", a)
	}
	good(chatWith("rented", "by the second", nil))
	for _, c := range []struct {
		name          string
		call          openaiclient.Call
		status        int
		class, detail string
		code          string
	}{
		{"unknown model", chatWith("nothing", "x", nil), 404, "NotFoundError", `nobody offers the model "nothing"`, client.CodeUnknownModel},
		{"no model", chatWith("", "x", nil), 400, "BadRequestError", "model is missing", client.CodeBadRequest},
		{"the back end refuses", chatWith("talker", "fail", nil), 400, "BadRequestError", "can't do that", "no"},
		{"the back end dies", chatWith("vectors", "crash", nil), 502, "InternalServerError", "costs nothing", client.CodeWorkers},
		{"too dear", openaiclient.Call{Name: "image", Params: map[string]any{"model": "painter", "prompt": "cats", "n": 4}}, 402, "APIError", "it may cost up to 0.00160000 IO (160000 base units), more than the 0.00150000 IO (150000 base units) that one request is allowed: name a smaller max_tokens, or allow more (--max-fee", client.CodeAboveMost},
	} {
		a := do(c.call)
		if a.OK || a.Status != c.status || a.Class != c.class || !strings.Contains(a.Message, c.detail) || a.Code != c.code {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
	return jobs
}
