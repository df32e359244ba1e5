package meter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// FuzzAsk: no header makes parseAsk panic, and what it takes says one thing only.
func FuzzAsk(f *testing.F) {
	voucher, err := client.EncodeVoucher(proofs.Voucher{Channel: ionet.Key{1}, Cumulative: ionet.MustAmount(5)}, [64]byte{2})
	must(f, err)
	f.Add(voucher, strings.Repeat("0a", 16), strings.Repeat("0B", 32), "")
	f.Add(voucher+"==", strings.Repeat("0", 33), "", strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, voucher, job, salt, offer string) {
		h := http.Header{}
		h.Set(client.VoucherHeader, voucher)
		h.Set(client.JobHeader, job)
		h.Set(client.SaltHeader, salt)
		h.Set(proofs.MostHeader, "5")
		h.Set(proofs.RequestHeader, strings.Repeat("A", 86))
		if offer != "" {
			h.Set(client.OfferHeader, offer)
		}
		a, p := parseAsk(h)
		if (a == nil) == (p == nil) {
			t.Fatalf("both or none: %+v, %+v", a, p)
		}
		if p != nil {
			if p.Field == "" || p.Status != http.StatusBadRequest {
				t.Errorf("refused without a field: %+v", p)
			}
			return
		}
		again, err := client.EncodeVoucher(proofs.Voucher{Channel: a.channel, Cumulative: a.cumulative}, a.signature)
		if err != nil || strings.TrimRight(voucher, "=") != again {
			t.Errorf("voucher %q is %q again, %v", voucher, again, err)
		}
		if client.ID(a.job).String() != strings.ToLower(job) || ionet.Hash(a.salt).String() != strings.ToLower(salt) {
			t.Errorf("job %q or salt %q is another one", job, salt)
		}
	})
}

// FuzzRequest: what a back end gets is what was read here, and has the bound that is
// billed by.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(chatBody))
	f.Add([]byte(`{"model":"chat","model":"other","max_tokens":5,"max_tokens":6,"n":2,"stream":true,"stream_options":null}`))
	f.Add([]byte(`{"model":"chat","prompt":["a",[1]],"best_of":3,"max_completion_tokens":null}`))
	models := mustOffer(f, strings.NewReplacer("%d", "1", "%[2]s", "http://x").Replace(offerText)).Models
	f.Fuzz(func(t *testing.T, body []byte) {
		for i := range endpoints {
			r, p := parseRequest(&endpoints[i], body, models)
			if p != nil {
				continue
			}
			var sent map[string]any
			if err := json.Unmarshal(r.upgrade, &sent); err != nil {
				t.Fatalf("the back end gets %q: %v", r.upgrade, err)
			}
			if sent["model"] != r.sold.Upstream {
				t.Errorf("the back end gets model %v", sent["model"])
			}
			again, p := parseRequest(&endpoints[i], bytes.Replace(r.upgrade, []byte(`"org/Chat-7B"`), []byte(`"chat"`), 1), models)
			if p != nil {
				t.Fatalf("what the back end gets is refused: %+v", p)
			}
			if again.n != r.n || again.stream != r.stream {
				t.Errorf("what the back end gets is another request: %+v, %+v", again, r)
			}
			if r.sold.Unit.Unit == proofs.UnitToken && r.bound < uint64(len(body))+promptOverhead {
				t.Errorf("bound %d of %d bytes", r.bound, len(body))
			}
		}
	})
}

// FuzzEvents: however a stream is cut into pieces, the same bytes go on, but for hidden
// events, and the same is counted.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(oneChunk+"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n"), uint8(3), true)
	f.Add([]byte("data: a\r\n\r\n: comment\n\nevent: x\ndata: {\"error\":{}}\r\rdata:"), uint8(1), false)
	f.Fuzz(func(t *testing.T, stream []byte, step uint8, hide bool) {
		run := func(step int) (events, []byte) {
			s, on := events{hide: hide}, []byte(nil)
			for b := stream; len(b) > 0; {
				n := min(step, len(b))
				on = append(on, s.take(b[:n])...)
				b = b[n:]
			}
			return s, append(on, s.rest()...)
		}
		whole, all := run(max(len(stream), 1))
		pieces, on := run(int(step) + 1)
		if !hide && !bytes.Equal(all, stream) {
			t.Errorf("%q went on as %q", stream, all)
		}
		if len(stream) > maxEvent {
			return // what is too long is read in pieces
		}
		if !bytes.Equal(all, on) && !bytes.ContainsRune(stream, '\r') {
			t.Errorf("in pieces of %d %q went on as %q", step, all, on)
		}
		if !bytes.ContainsRune(stream, '\r') && (whole.produced != pieces.produced || whole.usage != pieces.usage || whole.failed != pieces.failed) {
			t.Errorf("whole %+v, in pieces %+v", whole, pieces)
		}
	})
}
