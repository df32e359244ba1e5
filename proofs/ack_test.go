package proofs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

func someIDs(n int) []ionet.Hash {
	ids := make([]ionet.Hash, n)
	for i := range ids {
		ids[i] = ionet.HashOf(fmt.Append(nil, "statement ", i))
	}
	return ids
}

func records(ids []ionet.Hash) [][]byte {
	list := make([][]byte, len(ids))
	for i := range ids {
		list[i] = ids[i][:]
	}
	return list
}

// Every ack of trees of every size up to 70, and of some large ones, leads to the
// root that Root makes of the ids, by the path that Prove makes.
func TestAcksLeadToTheRoot(t *testing.T) {
	sizes := []int{127, 128, 129, 1000}
	for n := range 71 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		ids := someIDs(n)
		acks := SignAcks(testNetwork, key("service"), Arrival{Epoch: 9, Sample: 3}, ids)
		if len(acks) != n {
			t.Fatalf("%d statements have %d acks", n, len(acks))
		}
		root := Root(records(ids))
		for i, e := range acks {
			a := must[Ack](t)(ParseAck(e.Body))
			if a.Statement != ids[i] || a.Arrival != (Arrival{9, 3}) || a.Index != uint32(i) || a.Size != uint32(n) {
				t.Errorf("ack %d of %d is %+v", i, n, a)
			}
			if a.Root() != root {
				t.Errorf("ack %d of %d leads to %s, want %s", i, n, a.Root(), root)
			}
			if e.Signature != acks[0].Signature || e.Signer != public("service") || e.Kind != KindAck {
				t.Errorf("ack %d of %d has an envelope of its own", i, n)
			}
			if n > 129 {
				continue // Prove hashes the whole tree each time
			}
			if want := must[[]ionet.Hash](t)(Prove(records(ids), i)); !slices.Equal(a.Path, want) {
				t.Errorf("path of ack %d of %d is %x, want %x", i, n, a.Path, want)
			}
		}
		for i, err := range NewVerifier(testNetwork, 1).Verify(acks) {
			if err != nil {
				t.Errorf("ack %d of %d: %v", i, n, err)
			}
		}
	}
}

// More statements than a tree holds have several trees.
func TestAcksBeyondOneTree(t *testing.T) {
	ids := someIDs(MaxAckTree + 3)
	acks := SignAcks(testNetwork, key("service"), Arrival{Epoch: 1}, ids)
	if len(acks) != len(ids) || acks[0].Signature == acks[MaxAckTree].Signature {
		t.Fatalf("%d acks for %d statements", len(acks), len(ids))
	}
	for _, i := range []int{0, 1, MaxAckTree / 3, MaxAckTree - 1, MaxAckTree, MaxAckTree + 2} {
		a := must[Ack](t)(ParseAck(acks[i].Body))
		if err := acks[i].Verify(testNetwork); err != nil || a.Statement != ids[i] {
			t.Errorf("ack %d is of %s: %v", i, a.Statement, err)
		}
	}
	if n := len(acks[0].Body); n != MaxAckBody {
		t.Errorf("the longest ack has a body of %d bytes, want %d", n, MaxAckBody)
	}
}

// What the signature covers: nothing of an ack can be another, and no ack of the
// tree can be made one of a statement that is not in it.
func TestAckIsBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(r, "size")
		i := rapid.IntRange(0, n-1).Draw(r, "index")
		e := SignAcks(testNetwork, key("service"), Arrival{Epoch: 5, Sample: 2}, someIDs(n))[i]
		a := must[Ack](t)(ParseAck(e.Body))
		b := a
		b.Path = slices.Clone(a.Path)
		switch rapid.IntRange(0, 6).Draw(r, "change") {
		case 0:
			b.Statement = ionet.HashOf([]byte("another"))
		case 1:
			b.Arrival.Epoch++
		case 2:
			b.Arrival.Sample--
		case 3:
			b.Index = uint32(rapid.IntRange(0, n-1).Filter(func(x int) bool { return x != i || n == 1 }).Draw(r, "other index"))
		case 4:
			b.Size = uint32(rapid.IntRange(i+1, 50).Draw(r, "other size"))
		case 5:
			if len(b.Path) > 0 {
				b.Path[rapid.IntRange(0, len(b.Path)-1).Draw(r, "step")][0]++
			}
		case 6: // a node of the tree as a statement
			if len(b.Path) > 0 {
				b.Statement, b.Path = b.Path[0], b.Path[1:]
				b.Index, b.Size = b.Index/2, (b.Size+1)/2
			}
		}
		body, err := b.Encode()
		if err != nil || string(body) == string(e.Body) {
			return
		}
		e.Body = body
		if e.Verify(testNetwork) == nil || NewVerifier(testNetwork, 1).Verify([]Envelope{e})[0] == nil {
			r.Errorf("%+v verifies with the signature of %+v", b, a)
		}
	})
}

// An ack whose body is none verifies with no signature, not even with one over
// what such a body would have as signed bytes.
func TestAckWithoutForm(t *testing.T) {
	good := SignAcks(testNetwork, key("service"), Arrival{Epoch: 5}, someIDs(3))
	a := must[Ack](t)(ParseAck(good[1].Body))
	var w writer
	w.promise(a.Arrival, a.Size, a.Root())
	for name, body := range map[string][]byte{
		"nothing": {}, "what is signed": w.b, "cut": good[1].Body[:len(good[1].Body)-1], "a trailing byte": append(slices.Clone(good[1].Body), 0),
	} {
		if b := SignedBytes(testNetwork, KindAck, body); b != nil {
			t.Errorf("%s has signed bytes %x", name, b)
		}
		for _, e := range []Envelope{
			{Kind: KindAck, Signer: good[1].Signer, Signature: good[1].Signature, Body: body},
			{Kind: KindAck, Signer: torsion(t)[0], Signature: [64]byte{1}, Body: body}, // would verify over any bytes
			Sign(testNetwork, KindAck, key("service"), body),
		} {
			if err := e.Verify(testNetwork); err == nil {
				t.Errorf("%s verifies", name)
			}
			errs := NewVerifier(testNetwork, 1).Verify([]Envelope{good[0], e, good[2]})
			if errs[0] != nil || errs[1] == nil || errs[2] != nil {
				t.Errorf("%s in a batch: %v", name, errs)
			}
		}
	}
}

func TestAcksContradict(t *testing.T) {
	a := Ack{Statement: ionet.Hash{1}, Arrival: Arrival{3, 4}, Size: 1}
	for name, c := range map[string]struct {
		change func(*Ack)
		want   bool
	}{
		"the same":           {func(*Ack) {}, false},
		"another tree":       {func(b *Ack) { b.Index, b.Size, b.Path = 1, 2, make([]ionet.Hash, 1) }, false},
		"another sample":     {func(b *Ack) { b.Arrival.Sample++ }, true},
		"another epoch":      {func(b *Ack) { b.Arrival.Epoch++ }, true},
		"another statement":  {func(b *Ack) { b.Statement[0]++; b.Arrival.Epoch++ }, false},
		"another tree's lie": {func(b *Ack) { b.Size, b.Path, b.Arrival.Epoch = 2, make([]ionet.Hash, 1), 2 }, true},
	} {
		b := a
		c.change(&b)
		if a.Contradicts(b) != c.want || b.Contradicts(a) != c.want {
			t.Errorf("%s: contradicts %t, want %t", name, !c.want, c.want)
		}
	}
}

// FuzzAck: what parses encodes to the same bytes, leads to one root, and verifies
// with the signature over that root.
func FuzzAck(f *testing.F) {
	for _, n := range []int{1, 2, 3, 5, 8, 33} {
		for _, i := range []int{0, n / 2, n - 1} {
			f.Add(ackOf(f, n, i))
		}
	}
	f.Add(ackOf(f, 1, 0)[:20])
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := ParseAck(body)
		if err != nil {
			if SignedBytes(testNetwork, KindAck, body) != nil {
				t.Errorf("%x does not parse and has signed bytes", body)
			}
			return
		}
		if again := must[[]byte](t)(a.Encode()); string(again) != string(body) {
			t.Fatalf("%x encodes again as %x", body, again)
		}
		e := Sign(testNetwork, KindAck, key("service"), body)
		if err := e.Verify(testNetwork); err != nil {
			t.Errorf("%x: %v", body, err)
		}
		if len(a.Path) > 0 {
			a.Path[rand.IntN(len(a.Path))][31] ^= 1
			e.Body = must[[]byte](t)(a.Encode())
			if err := e.Verify(testNetwork); err == nil {
				t.Errorf("%x verifies with a path changed", body)
			}
		}
	})
}
