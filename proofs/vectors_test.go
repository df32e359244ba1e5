package proofs

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet"
)

// update writes the vectors anew: go test ./proofs -run TestVectors -update.
// They are a function of this package alone: keys come from names, Ed25519 is
// deterministic.
var update = flag.Bool("update", false, "write testdata anew")

// statementVector is one statement: what is signed, and what goes on the wire.
type statementVector struct {
	Network   string `json:"network"`
	Kind      string `json:"kind"`
	Number    uint8  `json:"number"`
	Seed      string `json:"seed"`
	Signer    string `json:"signer"`
	Text      string `json:"text,omitempty"`
	Body      string `json:"body"`
	Signed    string `json:"signed_bytes"`
	Signature string `json:"signature"`
	Envelope  string `json:"envelope"`
	ID        string `json:"id"`
}

// bookVector is one epoch: what it is judged by and what it comes to. Times of
// the clock are in seconds.
type bookVector struct {
	Start        int64           `json:"start"`
	EpochSeconds uint32          `json:"epoch_seconds"`
	Samples      uint16          `json:"samples"`
	Decimals     int             `json:"decimals"`
	Emission     ionet.Amount    `json:"emission"`
	Inputs       []string        `json:"inputs"`
	InputsRoot   string          `json:"inputs_root"`
	Verdicts     []verdictVector `json:"verdicts"`
	VerdictsRoot string          `json:"verdicts_root"`
	Sum          ionet.Amount    `json:"sum"`
	Unissued     ionet.Amount    `json:"unissued"`
	BookRoot     string          `json:"book_root"`
	BookHash     string          `json:"book_sha256"` // H of the decompressed book
	NextBindings []Binding       `json:"next_bindings"`
}

type verdictVector struct {
	Device string       `json:"device"`
	Worker string       `json:"worker"`
	Rule   string       `json:"rule"`
	Amount ionet.Amount `json:"amount"`
	Bytes  string       `json:"bytes"`
}

type memoVector struct {
	Memo string     `json:"memo"`
	Hash ionet.Hash `json:"hash"`
}

// signatureVector is a signature at the edge of the rules; its body is that of
// an inventory.
type signatureVector struct {
	Network   string `json:"network"`
	Signer    string `json:"signer"`
	Signature string `json:"signature"`
	Body      string `json:"body"`
	Verifies  bool   `json:"verifies"`
}

// recordVector is a record of the receipt log.
type recordVector struct {
	Record   string     `json:"record"`
	Tag      string     `json:"tag"`
	LeafHash ionet.Hash `json:"leaf_hash"`
	Compact  string     `json:"compact"`
}

// logVector is a log of some records: the file of the last bundle, the tiles of its
// right edge, its checkpoint, and proofs of one record and of a former size.
type logVector struct {
	Network     string            `json:"network"`
	Seed        string            `json:"seed"` // of keys.service
	VerifierKey string            `json:"verifier_key"`
	Records     []string          `json:"records"`
	Root        ionet.Hash        `json:"root"`
	Frontier    string            `json:"frontier"`
	Files       map[string]string `json:"files"`
	Checkpoint  string            `json:"checkpoint"`
	Index       uint64            `json:"index"`
	Inclusion   []ionet.Hash      `json:"inclusion"`
	From        uint64            `json:"from"`
	Consistency []ionet.Hash      `json:"consistency"`
}

// batchVector is a batch, and the proof of one of its jobs.
type batchVector struct {
	Batch  string       `json:"batch"` // body
	Leaves []string     `json:"leaves"`
	Index  uint32       `json:"index"`
	Proof  []ionet.Hash `json:"proof"`
}

// saltVector is what is hashed with a salt, and a channel's.
type saltVector struct {
	Salt         string     `json:"salt"`
	Path         string     `json:"path"`
	RequestBody  string     `json:"request_body"`
	Request      ionet.Hash `json:"request"`
	ResponseBody string     `json:"response_body"`
	Response     ionet.Hash `json:"response"`
	Network      string     `json:"network"`
	Session      ionet.Hash `json:"session"`
	Nonce        uint64     `json:"nonce"`
	ChannelSalt  uint64     `json:"channel_salt,string"`
}

type readVector struct {
	Network string `json:"network"`
	Seed    string `json:"seed"`
	Time    int64  `json:"time"`
	Method  string `json:"method"`
	Target  string `json:"target"`
	Header  string `json:"header"`
}

type requestVector struct {
	Network   string       `json:"network"`
	Seed      string       `json:"seed"`
	Channel   ionet.Key    `json:"channel"`
	Job       string       `json:"job"`
	Request   ionet.Hash   `json:"request"`
	Most      ionet.Amount `json:"most"`
	Signature string       `json:"signature"`
}

// addFeeVectors adds what renters, workers and the receipt log have beside statements.
func addFeeVectors(t testing.TB, all map[string]any) {
	var log [][]byte
	for _, c := range recordCases(t) {
		b := must[[]byte](t)(c.record.Encode())
		compact := must[Compact](t)(CompactOf(testNetwork, b))
		all["record-"+c.name] = recordVector{hex.EncodeToString(b), c.record.Entry.Tag().String(), LeafHash(b), hex.EncodeToString(compact.Append(nil))}
		if len(b) < 4000 {
			log = append(log, b)
		}
	}
	all["log"] = newLogVector(t, log)

	jobs := jobsInARow(3)
	batch := must[JobBatch](t)(BatchOf([16]byte{9}, feeTime, jobs, jobs[2].After, [64]byte{7}))
	b := batchVector{Batch: hex.EncodeToString(body(t, batch)), Index: 2, Proof: must[[]ionet.Hash](t)(ProveInBatch(jobs, 2))}
	for _, j := range jobs {
		b.Leaves = append(b.Leaves, hex.EncodeToString(BatchLeaf(j)))
	}
	all["batch"] = b

	salt, session := [32]byte(ionet.HashOf([]byte("salt"))), ionet.HashOf([]byte("session"))
	const path, request, response = "/v1/chat/completions", `{"model":"llama-4:70b","messages":[]}`, `{"choices":[]}`
	all["salts"] = saltVector{
		hex.EncodeToString(salt[:]), path, request, RequestHash(salt, path, []byte(request)), response, ResponseHash(salt, []byte(response)),
		ionet.Key(testNetwork).String(), session, 5, ChannelSalt(testNetwork, session, 5),
	}
	at := time.Unix(1_763_888_400, 0)
	const target = "/v1/renters/abc/receipts?after=5&limit=10"
	all["signed-read"] = readVector{
		ionet.Key(testNetwork).String(), hex.EncodeToString(key("renter").Seed()), at.Unix(), "GET", target,
		SignRead(testNetwork, key("renter"), at, "GET", target),
	}
	r := requestVector{
		Network: ionet.Key(testNetwork).String(), Seed: hex.EncodeToString(key("session").Seed()), Channel: jobs[0].Channel, Job: hex.EncodeToString(jobs[0].ID[:]),
		Request: RequestHash(salt, path, []byte(request)), Most: ionet.MustAmount(1_234_567),
	}
	r.Signature = EncodeRequestSignature(SignRequest(testNetwork, key("session"), r.Channel, jobs[0].ID, r.Request, r.Most))
	all["signed-request"] = r
}

func newLogVector(t testing.TB, records [][]byte) logVector {
	v := logVector{
		Network: ionet.Key(testNetwork).String(), Seed: hex.EncodeToString(key("service").Seed()), VerifierKey: must[string](t)(LogVerifierKey(testNetwork, public("service"))),
		Root: Root(records), Files: map[string]string{}, Index: 3, From: 5,
	}
	var bundle []byte
	for _, r := range records {
		v.Records = append(v.Records, hex.EncodeToString(r))
		bundle = must[[]byte](t)(AppendEntry(bundle, r))
	}
	v.Files[BundlePath(0, len(records))] = hex.EncodeToString(bundle)
	store := tileStore{}
	var e Edge
	for _, tile := range e.Grow(LeafHashes(records)) {
		store[tile.Path()], v.Files[tile.Path()] = tile.Data, hex.EncodeToString(tile.Data)
	}
	f := e.Frontier()
	v.Frontier = hex.EncodeToString(must[[]byte](t)(f.MarshalBinary()))
	size := uint64(len(records))
	v.Checkpoint = string(must[[]byte](t)(SignCheckpoint(testNetwork, key("service"), LogCheckpoint{size, v.Root})))
	r := TileReader(size, v.Root, store.read)
	v.Inclusion = must[[]ionet.Hash](t)(ProveInclusion(r, size, v.Index))
	v.Consistency = must[[]ionet.Hash](t)(ProveConsistency(r, v.From, size))
	return v
}

func vectors(t testing.TB) map[string]any {
	all := map[string]any{}
	for _, s := range samples(t) {
		e := s.envelope()
		v := statementVector{
			Network: testNetwork.String(), Kind: s.kind.String(), Number: uint8(s.kind), Seed: hex.EncodeToString(key(s.signer).Seed()),
			Signer: e.Signer.String(), Body: hex.EncodeToString(s.body), Signed: hex.EncodeToString(SignedBytes(testNetwork, s.kind, s.body)),
			Signature: hex.EncodeToString(e.Signature[:]), Envelope: hex.EncodeToString(e.Append(nil)), ID: e.ID().String(),
		}
		if s.kind.Text() {
			v.Text = string(s.body)
		}
		all["statement-"+s.name] = v
	}
	for _, c := range slices.Concat(ruleCases, idleCases) {
		w := newWorld(t)
		c.build(w)
		all["epoch-"+c.name] = epochVector(t, w)
	}
	all["epoch-every-input"] = epochVector(t, fullWorld(t))
	all["epoch-of-nobody"] = epochVector(t, newWorld(t))
	all["epoch-asked-for-jobs"] = epochVector(t, jobsWorld(t))
	all["epoch-drawn-by-target"] = epochVector(t, pricedWorld(t))
	for _, c := range memoCases() {
		all["memo-"+c.name] = memoVector{Memo: c.memo.String(), Hash: ionet.HashOf([]byte(c.memo.String()))}
	}
	points := torsion(t)
	signatures := make([]signatureVector, 0, len(points)*len(points))
	for _, a := range points {
		for _, r := range points {
			e := Envelope{Kind: KindInventory, Signer: a, Body: []byte("Zcash")}
			copy(e.Signature[:], r[:])
			signatures = append(signatures, signatureVector{
				Network: testNetwork.String(), Signer: hex.EncodeToString(a[:]), Signature: hex.EncodeToString(e.Signature[:]),
				Body: hex.EncodeToString(e.Body), Verifies: e.Verify(testNetwork) == nil,
			})
		}
	}
	all["signatures-of-small-order"] = signatures
	all["signatures-beyond"] = edgeVectors(t)
	addFeeVectors(t, all)
	return all
}

// pricedWorld draws by the price of the epoch before, and announces a policy.
func pricedWorld(t testing.TB) *world {
	w := newWorld(t)
	w.in.Policy = []byte(targetPolicy)
	w.honest("p", "w", gpu{1, h100}, gpu{2, h100}).work(0, 1, 2, 3, 4)
	w.honest("q", "v", gpu{3, rtx4090}).work(0, 1, 2)
	w.price("oracle", worldEpoch-1, 170_000_000)
	change := PolicyChange{Version: 2, FirstEpoch: worldEpoch + 3, Policy: ionet.HashOf([]byte(testPolicy))}
	w.add(KindPolicy, "service", must[[]byte](t)(change.Encode()), Arrival{worldEpoch, 2})
	return w
}

// jobsWorld asks for jobs, has some, and refuses one of two devices of a host.
func jobsWorld(t testing.TB) *world {
	w := newWorld(t)
	w.askForJobs(10, 1)
	w.honest("p", "w", gpu{1, h100}, gpu{2, h100}).work(0, 1, 2, 3, 4)
	w.job("w", testClock.EpochStart(worldEpoch))
	w.honest("q", "v", gpu{3, rtx4090}).work(0, 1, 2)
	w.batch("v", testClock.EpochEnd(worldEpoch)-1)
	h := w.honest("r", "u", gpu{4, h100}, gpu{5, h100})
	for s := range uint16(4) {
		u := h.statement(s)
		u.Devices[0].Utilization = 10
		h.say(u, 0)
	}
	return w
}

func epochVector(t testing.TB, w *world) bookVector {
	j := w.judge()
	b := &Book{Inputs: w.in, Verdicts: j.Verdicts}
	file := must[[]byte](t)(EncodeBook(b))
	raw := must[[]byte](t)(must[*zstd.Decoder](t)(decoder()).DecodeAll(file, nil))
	v := bookVector{
		Start: testClock.Start, EpochSeconds: testClock.Length, Samples: testClock.Samples, Decimals: testTerms.Decimals, Emission: testEmission,
		InputsRoot: w.in.Root().String(), VerdictsRoot: b.VerdictsRoot().String(), Sum: j.Sum, Unissued: j.Unissued,
		BookRoot: b.Root().String(), BookHash: ionet.HashOf(raw).String(), NextBindings: must[[]Binding](t)(NextBindings(w.in, j.Verdicts)),
	}
	for _, r := range w.in.Records() {
		v.Inputs = append(v.Inputs, hex.EncodeToString(r))
	}
	for _, x := range j.Verdicts {
		v.Verdicts = append(v.Verdicts, verdictVector{x.UUID.String(), x.Worker.String(), x.Rule.Name(), x.Amount, hex.EncodeToString(x.Append(nil))})
	}
	return v
}

// TestVectors holds the package against the committed bytes: whoever changes
// the format breaks it.
func TestVectors(t *testing.T) {
	all := vectors(t)
	if *update {
		for name, v := range all {
			if err := os.WriteFile(vectorFile(name), encodeVector(t, v), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(vectorFile("*"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		want = append(want, vectorFile(name))
		file, err := os.ReadFile(vectorFile(name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(file, encodeVector(t, all[name])) {
			t.Errorf("%s: the bytes have changed", name)
		}
	}
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("testdata has %d files, the generator makes %d", len(files), len(want))
	}
}

func vectorFile(name string) string { return filepath.Join("testdata", name+".json") }

func encodeVector(t testing.TB, v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
