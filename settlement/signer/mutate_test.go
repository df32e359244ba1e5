package signer

import (
	"bytes"
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Whatever is changed in a message that the policy allows, it is refused, or it does
// the same: only blockhash, budget, how the addresses are ordered and what a wallet
// appends to a claim are not part of a content.
func TestMutationsAreRefusedOrDoTheSame(t *testing.T) {
	w := newWorld(t)
	pay, claim, epoch := w.first("pay-0"), w.first("claim-0"), w.at("epoch", 3)
	valid := []Request{
		ask(t, w.payout(pay, 1, 2, 3), pay), ask(t, w.withdrawal(pay, 9), pay), ask(t, w.unlock(pay, 9), pay), ask(t, w.fees(pay, 1, 2, 3), pay),
		ask(t, w.epoch(epoch, 100), epoch), ask(t, w.claim(claim, payee(1), 5), claim), ask(t, w.fence(pay, claim), pay, claim), ask(t, w.skip(pay), pay),
		ask(t, w.seal(w.first("seal")), w.first("seal")), ask(t, w.receipts(w.first("seal"), 0, 3), w.first("seal")),
	}
	var contents [][]ionet.Hash
	for _, r := range valid {
		v, refusal := w.policy.judge(r, w.view())
		if refusal != nil {
			t.Fatal(refusal)
		}
		contents = append(contents, hashesOf(v))
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(valid)-1).Draw(t, "request")
		message := bytes.Clone(valid[i].Message)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(message)-1).Draw(t, "at")
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				message[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			case 1:
				message[at] = rapid.Byte().Draw(t, "byte")
			case 2:
				message = append(message[:at:at], message[min(at+rapid.IntRange(1, 40).Draw(t, "out"), len(message)):]...)
			case 3:
				from := rapid.IntRange(0, len(message)-1).Draw(t, "from")
				copy(message[at:], bytes.Clone(message[from:min(from+32, len(message))]))
			}
			if len(message) == 0 {
				return
			}
		}
		v, refusal := w.policy.judge(Request{Message: message, Lanes: valid[i].Lanes}, w.view())
		if refusal == nil {
			if got := hashesOf(v); !equal(got, contents[i]) {
				t.Fatalf("a changed message does something else: %v, not %v", got, contents[i])
			}
		}
	})
}

// The same for a bit of every byte.
func TestEveryByteOfAMessageCounts(t *testing.T) {
	w := newWorld(t)
	pay, claim := w.first("pay-0"), w.first("claim-0")
	for name, r := range map[string]Request{
		"payout": ask(t, w.payout(pay, 1, 2), pay), "claim": ask(t, w.claim(claim, payee(1), 5), claim), "unlock": ask(t, w.unlock(pay, 9), pay),
	} {
		before, refusal := w.policy.judge(r, w.view())
		if refusal != nil {
			t.Fatal(refusal)
		}
		allowed := 0
		for i := range r.Message {
			changed := Request{Message: bytes.Clone(r.Message), Lanes: r.Lanes}
			changed.Message[i] ^= 1 << (i % 8)
			v, refusal := w.policy.judge(changed, w.view())
			if refusal != nil {
				continue
			}
			allowed++
			if !equal(hashesOf(v), hashesOf(before)) {
				t.Errorf("%s: a bit of byte %d makes another content of it", name, i)
			}
		}
		if allowed < 32 || allowed > 64 { // the blockhash, and of the budget what keeps below the ceilings
			t.Errorf("%s: changes of %d bytes are allowed", name, allowed)
		}
	}
}

func hashesOf(v verdict) (list []ionet.Hash) {
	for _, e := range v.entries {
		list = append(list, e.content)
	}
	return list
}

func equal(a, b []ionet.Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Whatever order requests come in, no lane goes back, and no more leaves in a window
// than its limit: of each position the largest content that was signed.
func TestNoSequenceExceedsTheLimits(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		h := newHeads(&w.policy, true)
		type signing struct {
			place
			amount uint64
			at     int64
		}
		var signed []signing
		highest, now := map[ionet.Key]uint64{}, w.now
		seats := map[string]seat{"pay-0": w.first("pay-0"), "pay-1": w.first("pay-1")}
		for range 40 {
			s := seats[rapid.SampledFrom([]string{"pay-0", "pay-1"}).Draw(t, "lane")]
			amount := rapid.Uint64Range(1, 6_000).Draw(t, "amount")
			c := chain.Content{Kind: chain.KindPayout, Lane: s.Lane, N: s.N, C: s.C, Memo: "io1 payout ", Movements: []chain.Movement{{Op: chain.Transfer, Amount: ionet.MustAmount(amount)}}}
			e := entry{kind: c.Kind, lane: c.Lane, n: c.N, c: c.C, content: c.Hash(), next: c.Next(), amount: ionet.MustAmount(amount)}
			h.forget(now)
			if h.admit(verdict{entries: []entry{e}}, &w.policy, now) == nil {
				h.note(e, now.Unix(), true)
				signed = append(signed, signing{place{lane: e.lane, n: e.n}, amount, now.Unix()})
				if e.n < highest[e.lane] {
					t.Fatalf("position %d was signed after %d", e.n, highest[e.lane])
				}
				highest[e.lane] = e.n
			}
			leaves, sum := map[place]uint64{}, uint64(0)
			for _, s := range signed {
				if s.at > now.Add(-w.policy.Window).Unix() {
					leaves[s.place] = max(leaves[s.place], s.amount)
				}
			}
			for _, n := range leaves {
				sum += n
			}
			if limit := w.policy.Limits[chain.KindPayout].Base(); sum > limit {
				t.Fatalf("%d can leave in a window, the limit is %d", sum, limit)
			}
			switch rapid.IntRange(0, 4).Draw(t, "then") {
			case 0: // it wins, or the asker is told so
				seats[s.name] = seat{Position{s.Lane, s.N + 1, c.Next()}, s.name}
			case 1: // the asker goes back
				if s.N > 0 {
					seats[s.name] = seat{Position{s.Lane, s.N - 1, ionet.Hash{byte(s.N)}}, s.name}
				}
			case 2: // time passes, perhaps into the next window
				now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			}
		}
	})
}

func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"network":"11111111111111111111111111111111"}`))
	f.Add([]byte(`{"network":"11111111111111111111111111111111","requests":[{"message":"gAEAAQ==","lanes":[{"lane":"11111111111111111111111111111111","n":3,"c":"0000000000000000000000000000000000000000000000000000000000000000"}]}]}`))
	f.Add([]byte(`{"c":["00"]}x`))
	p, err := prepared()
	if err != nil {
		f.Fatal(err)
	}
	local := NewLocal(NewRing(&p.Keys.Secret, p.Keys.Operator))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuestion(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(q.Cs) > MaxLaneKeys || len(q.Requests) > MaxRequests {
			t.Fatal("more than the bounds of one call")
		}
		answers, err := local.Sign(context.Background(), q.list())
		if err != nil || len(answers) != len(q.Requests) {
			t.Fatalf("%d answers to %d requests: %v", len(answers), len(q.Requests), err)
		}
	})
}

// FuzzJudge feeds the policy messages as a stolen service might.
func FuzzJudge(f *testing.F) {
	w := newWorld(f)
	pay := w.first("pay-0")
	f.Add(ask(f, w.payout(pay, 1, 2), pay).Message, true)
	f.Add(ask(f, w.claim(w.first("claim-0"), payee(1), 5), pay).Message, true)
	o, err := chain.Opening{FeePayer: w.Network.Keys.Operator, LaneKey: w.Network.Keys.Lane, Blockhash: ionet.Key{9},
		Lanes: []chain.NewLane{{Name: "pay-0", First: w.Keys.Secret.Public(pay.C), Lamports: 5}}, Budget: chain.Budget{ComputeUnits: 1, LoadedBytes: 1}}.Message()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o, false)
	f.Fuzz(func(t *testing.T, message []byte, lane bool) {
		r := Request{Message: message}
		if lane {
			r.Lanes = []Position{pay.Position}
		}
		v, refusal := w.policy.judge(r, w.view())
		if refusal != nil {
			return
		}
		for _, e := range v.entries {
			if e.kind == chain.KindPayout && e.amount.IsZero() {
				t.Error("a payout of nothing is allowed")
			}
		}
	})
}
