package chain

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
)

var update = flag.Bool("update", false, "write the vectors of testdata anew")

// vector is one case of testdata; a second implementation can be checked with
// it. All bytes are hex. Seeds are SHA-256("test key <name>"), the lane secret
// is SHA-256("test lane secret"), the blockhash SHA-256("test blockhash").
type vector struct {
	About        string           `json:"about"`
	Content      string           `json:"content,omitempty"`
	ContentHash  *ionet.Hash      `json:"content_hash,omitempty"`
	Lane         *ionet.Key       `json:"lane,omitempty"`
	LaneSecret   string           `json:"lane_secret,omitempty"`
	Positions    []vectorPosition `json:"positions,omitempty"`
	Message      string           `json:"message,omitempty"`
	MessageHash  *ionet.Hash      `json:"message_hash,omitempty"`
	Transaction  string           `json:"transaction,omitempty"`
	TransactedBy []ionet.Key      `json:"signers,omitempty"`
}

// vectorPosition is C(n) and the public half of K(n).
type vectorPosition struct {
	N   uint64     `json:"n"`
	C   ionet.Hash `json:"c"`
	Key ionet.Key  `json:"key"`
}

func vectors(t testing.TB) map[string]vector {
	f := newFixture()
	out := map[string]vector{}
	about := map[string]string{
		"epoch-v0":       "version 0: lane step, MintToChecked, memo",
		"epoch-empty-v0": "an epoch whose sum is 0 mints nothing",
		"genesis-v1":     "lane step, transfer of 0 lamports to the reference, five mints, memo",
		"payout-57-v1":   "the largest payout of version 1",
		"claim-v0":       "the wallet pays and its account is made first",
		"unlock-3-v1":    "three beneficiaries, whose accounts are made first",
		"retire-v1":      "the mint authority is given up after the last epoch",
		"fence-10-v1":    "ten lane steps and a memo",
		"fees-56-v1":     "the largest batch of fees of version 1: the fee vault has an owner of its own",
		"receipts-49-v1": "the compact forms of 49 leaves of the receipt log, as many as fit",

		"fees-54-2of3-v1": "the largest batch of fees of version 1 from the vault of a multisig",

		"payout-54-2of3-v1": "the largest payout of version 1 from the vault of a multisig, two of whose members sign",
		"claim-2of3-v0":     "a claim from the vault of a multisig",
		"epoch-2of3-v1":     "a multisig mints",
		"genesis-2of3-v1":   "genesis, whose operator gives the mint to a multisig",
	}
	for name, c := range plans(t) {
		d, err := Decode(c.Tx)
		if err != nil {
			t.Fatal(err)
		}
		lane := d.Plan.Steps[0].Lane
		content, err := d.Content(lane, 0, FirstC(lane))
		if err != nil {
			t.Fatal(err)
		}
		hash, mh := content.Hash(), d.MessageHash()
		out["transaction-"+name] = vector{
			About: about[name], Lane: &lane, Content: hex.EncodeToString(content.Encode()), ContentHash: &hash,
			Message: hex.EncodeToString(d.Message), MessageHash: &mh, Transaction: hex.EncodeToString(c.Tx), TransactedBy: d.Signers,
		}
	}
	out["lane-chain"] = laneVector(t, f)
	return out
}

// laneVector walks five positions of a lane.
func laneVector(t testing.TB, f fixture) vector {
	at := f.first("epoch")
	lane := at.lane
	v := vector{About: "C(n) and K(n) of a lane that carries genesis, then epochs 1 to 4", Lane: &lane, LaneSecret: hex.EncodeToString(f.secret[:])}
	for n := range uint64(5) {
		v.Positions = append(v.Positions, vectorPosition{n, at.c, f.secret.Public(at.c)})
		p := f.genesis(t, at, 1, 2)
		if n > 0 {
			p = f.epoch(t, at, 100*n)
		}
		c, err := p.Content(lane, at.n, at.c)
		if err != nil {
			t.Fatal(err)
		}
		at = position{lane, n + 1, c.Next()}
	}
	return v
}

func TestVectors(t *testing.T) {
	want := vectors(t)
	for name, v := range want {
		path := filepath.Join("testdata", name+".json")
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v: run go test ./chain -run TestVectors -update", err)
			continue
		}
		if diff := cmp.Diff(string(got), string(text)+"\n"); diff != "" {
			t.Errorf("%s differs (-file +code):\n%s", name, diff)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) != len(want) {
		t.Errorf("testdata holds %d vectors, want %d", len(files), len(want))
	}
}

// The vectors' bytes decode and verify, read from the files alone.
func TestVectorsDecode(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "transaction-*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, path := range files {
		var v vector
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		tx, err := hex.DecodeString(v.Transaction)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(tx)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := d.VerifySignatures(); err != nil || d.MessageHash() != *v.MessageHash {
			t.Errorf("%s: %v, message hash %s", path, err, d.MessageHash())
		}
	}
}

// The formulas of section 9, written out once more.
func TestLaneFormulas(t *testing.T) {
	f := newFixture()
	at := f.first("pay-0")
	c, err := f.payout(t, at, 1).Content(at.lane, at.n, at.c)
	if err != nil {
		t.Fatal(err)
	}
	if want := ionet.HashOf([]byte("io/lane/1"), at.lane[:]); at.c != want {
		t.Errorf("C(0) is %s, want %s", at.c, want)
	}
	inner := ionet.HashOf(c.Encode())
	if want := ionet.HashOf([]byte("io/lane/1"), at.c[:], inner[:]); c.Next() != want {
		t.Errorf("C(1) is %s, want %s", c.Next(), want)
	}
	key := f.secret.Key(at.c)
	if len(key) != ed25519.PrivateKeySize || PublicOf(key) != f.secret.Public(at.c) {
		t.Error("K(0) and its public half differ")
	}
	if f.secret.Public(at.c) == f.secret.Public(c.Next()) || f.secret.Public(at.c) == (Secret{}).Public(at.c) {
		t.Error("K depends neither on C nor on the secret")
	}
}
