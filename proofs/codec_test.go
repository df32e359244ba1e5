package proofs

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// encodable is a binary body.
type encodable interface{ Encode() ([]byte, error) }

func again[T encodable](v T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return v.Encode()
}

// renderable is a text body.
type renderable interface {
	Text(ionet.Hash) (string, error)
}

func shown[T renderable](network ionet.Hash) func(v T, err error) ([]byte, error) {
	return func(v T, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		s, err := v.Text(network)
		return []byte(s), err
	}
}

// reencode parses a body of that kind and encodes it again.
func reencode(network ionet.Hash, kind Kind, signer ionet.Key, body []byte) ([]byte, error) {
	switch kind {
	case KindDelegation:
		return shown[Delegation](network)(ParseDelegation(network, signer, body))
	case KindRevocation:
		return shown[Revocation](network)(ParseRevocation(network, signer, body))
	case KindRelease:
		return shown[Release](network)(ParseRelease(network, signer, body))
	case KindSession:
		return shown[Session](network)(ParseSession(network, signer, body))
	case KindWithdrawal:
		return shown[Withdrawal](network)(ParseWithdrawal(network, signer, body))
	case KindDispute:
		return shown[Dispute](network)(ParseDispute(network, signer, body))
	case KindInventory:
		return again(ParseInventory(body))
	case KindUptime:
		return again(ParseUptime(body))
	case KindOffer:
		return again(ParseOffer(body))
	case KindJob:
		return again(ParseJob(body))
	case KindJobBatch:
		return again(ParseJobBatch(body))
	case KindChannelOpen:
		return again(ParseChannelOpen(body))
	case KindChannelClose:
		return again(ParseChannelClose(body))
	case KindVoucher:
		return again(ParseVoucher(body))
	case KindSessionClose:
		return again(ParseSessionClose(body))
	case KindAck:
		return again(ParseAck(body))
	case KindPrice:
		return again(ParsePrice(body))
	case KindPolicy:
		return again(ParsePolicyChange(body))
	}
	return nil, fmt.Errorf("%s has no body of ours", kind)
}

// sample is one statement of the golden set.
type sample struct {
	name   string
	kind   Kind
	signer string
	body   []byte
}

func text(t testing.TB, v renderable) []byte { return []byte(must[string](t)(v.Text(testNetwork))) }

func body(t testing.TB, v encodable) []byte { return must[[]byte](t)(v.Encode()) }

// samples has every kind with a body, and the edges of each.
func samples(t testing.TB) []sample {
	hash := func(s string) ionet.Hash { return ionet.HashOf([]byte(s)) }
	const issued, expires = 1_763_888_400, 1_766_480_400
	io := ionet.MustAmount
	all := append(textSamples(t, hash), []sample{
		{"inventory", KindInventory, "worker", body(t, Inventory{Delegation: hash("delegation"), Devices: []InventoryDevice{
			{UUID: device(1), Name: h100, MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.65.06", VBIOS: "96.00.89.00.01", ECC: ModeOn},
			{UUID: device(2), Name: rtx4090, MemoryMiB: 24564, PCI: "00000000:02:00.0", CCMajor: 8, CCMinor: 9, Driver: "580.65.06", VBIOS: "95.02.3C.00.A1", MIG: ModeUntold, ECC: ModeUntold},
		}})},
		{"inventory-simulated", KindInventory, "worker", body(t, Inventory{Delegation: hash("delegation"), Simulated: true, Devices: []InventoryDevice{
			{UUID: device(3), Name: "~", PCI: " ", Driver: strings.Repeat("x", maxText), VBIOS: "?", MIG: ModeOn, ECC: ModeOff, MemoryMiB: math.MaxUint32, CCMajor: 255, CCMinor: 255},
		}})},
		{"uptime", KindUptime, "worker", body(t, Uptime{Epoch: 7, Sample: 3, BeaconSlot: 424242, BeaconHash: public("block"), Previous: hash("previous"),
			Delegation: hash("delegation"), Inventory: hash("inventory"), Devices: []UptimeDevice{
				{Utilization: 97, MemoryMiB: 70123, Temperature: 64, PowerW: 688, SMMHz: 1755, MemoryMHz: 2619, ECCErrors: 3, Processes: 2}, {Status: DeviceGone},
			}})},
		{"uptime-untold", KindUptime, "worker", body(t, Uptime{Epoch: math.MaxUint64, Sample: math.MaxUint16, Devices: []UptimeDevice{
			{Utilization: NoUtilization, Temperature: NoTemperature, PowerW: NoPower, SMMHz: NoClock, MemoryMHz: NoClock, ECCErrors: NoECCErrors, Processes: NoProcesses}, {Utilization: 100, Temperature: -5},
		}})},
		{"offer", KindOffer, "worker", body(t, Offer{Sequence: 12, Expires: expires, Endpoint: "https://gpu.example:8443/v1", Capacity: 16, Models: []OfferModel{
			{Name: "flux/schnell", Unit: UnitImage, Price: io(250_000), Per: 1},
			{Name: "llama-4:70b", Unit: UnitToken, Price: io(1_500), Per: 1000},
			{Name: "llama-4:70b", Unit: UnitRequest, Price: io(9), Per: 1},
		}})},
		{"job", KindJob, "worker", body(t, Job{Channel: public("channel"), ID: [16]byte{1, 2}, Served: issued, Offer: hash("offer"), Model: "llama-4:70b", Unit: UnitToken,
			Units: 1234, Price: io(1_500), Per: 1000, Before: io(10), Fee: io(1851), After: io(1861), Request: hash("request"), Response: hash("response"),
			Cumulative: io(2000), Voucher: [64]byte{9}})},
		{"job-batch", KindJobBatch, "worker", body(t, JobBatch{Channel: public("channel"), ID: [16]byte{3}, Served: issued, Offer: hash("offer"), Count: 2, Root: hash("jobs"),
			Before: io(10), Fee: io(90), After: io(100), Cumulative: io(100), Voucher: [64]byte{9}})},
		{"channel-open", KindChannelOpen, "session", body(t, ChannelOpen{Session: hash("session"), Worker: public("worker"), Channel: public("channel"),
			Limit: io(1_000_000), Salt: 5, OpenSlot: 424242, Expires: expires})},
		{"channel-close", KindChannelClose, "session", body(t, ChannelClose{Channel: public("channel"), Cumulative: io(1861)})},
		{"session-close", KindSessionClose, "session", body(t, SessionClose{Session: hash("session")})},
		{"voucher", KindVoucher, "session", body(t, Voucher{Channel: public("channel"), Cumulative: io(2000)})},
		{"voucher-expiring", KindVoucher, "session", body(t, Voucher{Channel: public("channel"), Cumulative: io(math.MaxInt64), Expiry: expires})},
		{"ack", KindAck, "service", body(t, Ack{Statement: hash("statement"), Arrival: Arrival{Epoch: 7, Sample: 4}, Size: 1})},
		{"ack-of-five", KindAck, "service", ackOf(t, 5, 2)},
		{"ack-of-five-last", KindAck, "service", ackOf(t, 5, 4)},
		{"price", KindPrice, "oracle", body(t, Price{Epoch: 7, Observed: issued, MicroUSD: 312_000})},
		{"policy", KindPolicy, "service", body(t, PolicyChange{Version: 2, FirstEpoch: 9, Policy: hash("policy")})},
	}...)
	return all
}

// ackOf is the body of the ack of the i-th of n statements.
func ackOf(t testing.TB, n, i int) []byte {
	ids := make([]ionet.Hash, n)
	for j := range ids {
		ids[j] = ionet.HashOf([]byte{byte(j)})
	}
	return SignAcks(testNetwork, key("service"), Arrival{Epoch: 7, Sample: 4}, ids)[i].Body
}

func textSamples(t testing.TB, hash func(string) ionet.Hash) []sample {
	const issued, expires = 1_763_888_400, 1_766_480_400
	io := ionet.MustAmount
	many := make([]ionet.Key, maxWorkers)
	for i := range many {
		many[i] = ionet.Key{1: byte(i), 31: 1}
	}
	return []sample{
		{"delegation", KindDelegation, "provider", text(t, Delegation{Provider: public("provider"), Payout: public("payout"), Workers: []ionet.Key{public("worker")}, Issued: issued, Expires: expires})},
		{"delegation-many-workers", KindDelegation, "provider", text(t, Delegation{Provider: public("provider"), Payout: public("provider"), Workers: many, Issued: 0, Expires: maxLife})},
		{"revocation", KindRevocation, "provider", text(t, Revocation{Provider: public("provider"), Delegation: hash("delegation"), Issued: issued})},
		{"release", KindRelease, "provider", text(t, Release{Provider: public("provider"), Worker: public("worker"), Device: device(1), Issued: issued})},
		{"session", KindSession, "renter", text(t, Session{Renter: public("renter"), Key: public("session"), Reserve: io(5_000_000_000), Issued: issued, Expires: expires, Caps: []PriceCap{
			{Model: "flux/schnell", Price: io(300_000), Per: 1}, {Model: "llama-4:70b", Price: io(2_000), Per: 1000},
		}})},
		{"session-without-caps", KindSession, "renter", text(t, Session{Renter: public("renter"), Key: public("session"), Issued: issued, Expires: issued + 1})},
		{"withdrawal", KindWithdrawal, "renter", text(t, Withdrawal{Renter: public("renter"), ID: [16]byte{0xab}, Amount: io(123_456_789), To: public("renter"), Expires: expires})},
		{"dispute", KindDispute, "renter", text(t, Dispute{Renter: public("renter"), Job: hash("job"), Response: hash("response"), Issued: issued})},
	}
}

func (s sample) envelope() Envelope { return Sign(testNetwork, s.kind, key(s.signer), s.body) }

func TestBodiesRoundTrip(t *testing.T) {
	seen := map[Kind]bool{KindCheckpoint: true} // a signed note, not ours
	for _, s := range samples(t) {
		seen[s.kind] = true
		t.Run(s.name, func(t *testing.T) {
			b, err := reencode(testNetwork, s.kind, public(s.signer), s.body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, s.body) {
				t.Errorf("got %q, want %q", b, s.body)
			}
			for n := 0; n < len(s.body); n += stride(s.body) {
				if _, err := reencode(testNetwork, s.kind, public(s.signer), s.body[:n]); err == nil {
					t.Errorf("parses when cut to %d bytes", n)
				}
			}
			if _, err := reencode(testNetwork, s.kind, public(s.signer), append(bytes.Clone(s.body), '\n')); err == nil {
				t.Error("parses with a trailing byte")
			}
		})
	}
	for k := range Kind(255) {
		if k.Known() && !seen[k] {
			t.Errorf("no sample of kind %s", k)
		}
	}
}

// Every bit of every byte of every statement is flipped: what still parses does
// not verify.
func TestFlipEveryByte(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			e := s.envelope()
			good := e.Append(nil)
			for i := 0; i < len(good); i += stride(s.body) {
				for _, flip := range []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80} {
					bad := bytes.Clone(good)
					bad[i] ^= flip
					if genuine(bad) {
						t.Errorf("byte %d xor %02x still parses and verifies", i, flip)
					}
				}
			}
			if !genuine(good) {
				t.Error("the untouched statement does not verify")
			}
		})
	}
}

// stride is 1, but for the one huge body a prime that touches every line.
func stride(body []byte) int {
	if len(body) > 4000 {
		return 53
	}
	return 1
}

func genuine(b []byte) bool {
	e, rest, err := ParseEnvelope(b)
	if err != nil || len(rest) != 0 {
		return false
	}
	again, err := reencode(testNetwork, e.Kind, e.Signer, e.Body)
	return err == nil && bytes.Equal(again, e.Body) && e.Verify(testNetwork) == nil
}

func TestEnvelopeStream(t *testing.T) {
	var b []byte
	var want []ionet.Hash
	for _, s := range samples(t) {
		e := s.envelope()
		b = e.Append(b)
		want = append(want, e.ID())
	}
	rest := b
	for i, id := range want {
		var e Envelope
		var err error
		if e, rest, err = ParseEnvelope(rest); err != nil {
			t.Fatalf("envelope %d: %v", i, err)
		}
		if e.ID() != id {
			t.Errorf("envelope %d: got id %s, want %s", i, e.ID(), id)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes left over", len(rest))
	}
	resigned := samples(t)[0].envelope()
	id := resigned.ID()
	resigned.Signature = [64]byte{1}
	if resigned.ID() != id {
		t.Error("the id depends on the signature")
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(byte(s.kind), s.body)
	}
	signers := map[Kind]ionet.Key{}
	for _, s := range samples(f) {
		signers[s.kind] = public(s.signer)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		k := Kind(kind)
		again, err := reencode(testNetwork, k, signers[k], b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%s %q encodes again as %q", k, b, again)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range samples(f) {
		e := s.envelope()
		f.Add(e.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := ParseEnvelope(b)
		if err != nil {
			return
		}
		if again := append(e.Append(nil), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x", b, again)
		}
	})
}
