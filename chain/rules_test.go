package chain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

const longMemo = "io1 payout batch=000102030405060708090a0b0c0d0e0f count=57 sum=9223372036854775807"

func TestMaxPayees(t *testing.T) {
	for _, c := range []struct {
		kind      Kind
		version   int
		memo      string
		cosigners int
		want      int
	}{
		{KindPayout, 1, longMemo, 0, 57},
		{KindPayout, 1, longMemo, 1, 55},
		{KindPayout, 1, longMemo, 2, 54},
		{KindPayout, 1, longMemo, 3, 53},
		{KindPayout, 1, longMemo, 5, 51},
		{KindFees, 1, longFees, 0, 56},
		{KindFees, 1, longFees, 1, 55},
		{KindFees, 1, longFees, 2, 54},
		{KindReceipts, 1, longFees, 0, 0},
		{KindWithdrawal, 1, "io1 withdrawal id=000102030405060708090a0b0c0d0e0f sum=9223372036854775807", 0, 1},
		{KindUnlock, 1, "io1 unlock category=seed tranche=24 sum=9223372036854775807", 0, 7},
		{KindClaim, 0, "io1 claim wallet=x sum=1", 0, 1},
		{KindClaim, 0, "io1 claim wallet=x sum=1", 2, 1},
		{KindPayout, 1, "not a memo", 0, 0},
	} {
		if got := MaxPayees(c.kind, c.version, c.memo, c.cosigners); got != c.want {
			t.Errorf("%s, version %d: got %d, want %d", c.kind, c.version, got, c.want)
		}
	}
	if got := MaxPayees(KindPayout, 0, longMemo, 0); got < 10 || got > 20 {
		t.Errorf("payout of version 0: got %d, want some 15", got)
	}
}

func TestMovementAtNamesTransfers(t *testing.T) {
	for name, c := range plans(t) {
		d, err := Decode(c.Tx)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for i, in := range d.Instructions {
			m, ok := d.Plan.MovementAt(i)
			if !ok {
				continue
			}
			if m != count || !slices.ContainsFunc(in.Accounts, func(a Account) bool { return a.Key == d.Plan.Movements[m].Destination }) {
				t.Errorf("%s: instruction %d is said to be movement %d", name, i, m)
			}
			count++
		}
		if count != len(d.Plan.Movements) {
			t.Errorf("%s: %d movements are named, want %d", name, count, len(d.Plan.Movements))
		}
	}
}

// badPlans breaks a rule of section 11 each.
func TestPlanRules(t *testing.T) {
	f := newFixture()
	wallet := publicKey("wallet")
	payout := func() Plan { return f.payout(t, f.first("pay-0"), 2) }
	claim := func() Plan { return f.claim(t, f.first("claim-0"), wallet, 5) }
	epoch := func() Plan { return f.epoch(t, f.first("epoch"), 5) }
	genesis := func() Plan { return f.genesis(t, f.first("epoch"), 1, 2) }
	fence := func() Plan { return f.fence(t, f.first("pay-0")) }
	for name, c := range map[string]struct {
		plan Plan
		with func(*Plan)
	}{
		"version-2":               {payout(), func(p *Plan) { p.Version = 2 }},
		"no-fee-payer":            {payout(), func(p *Plan) { p.FeePayer = ionet.Key{} }},
		"no-blockhash":            {payout(), func(p *Plan) { p.Blockhash = ionet.Key{} }},
		"unknown-kind":            {payout(), func(p *Plan) { p.Kind = kindCount }},
		"memo-of-another-kind":    {payout(), func(p *Plan) { p.Kind = KindWithdrawal }},
		"no-step":                 {payout(), func(p *Plan) { p.Steps = nil }},
		"payout-two-steps":        {payout(), func(p *Plan) { p.Steps = append(p.Steps, fence().Steps[0]) }},
		"fence-eleven-steps":      {fence(), func(p *Plan) { f.eleven(t, p) }},
		"same-lane-twice":         {fence(), func(p *Plan) { p.Steps = append(p.Steps, p.Steps[0]) }},
		"step-to-the-same-key":    {payout(), func(p *Plan) { p.Steps[0].To = p.Steps[0].From }},
		"step-to-nobody":          {payout(), func(p *Plan) { p.Steps[0].To = ionet.Key{} }},
		"payout-without-movement": {payout(), func(p *Plan) { p.Movements, p.Owners, p.Mint, p.Decimals = nil, nil, ionet.Key{}, 0 }},
		"fence-with-movement": {fence(), func(p *Plan) {
			q := payout()
			p.Movements, p.Owners, p.Mint, p.Decimals = q.Movements, q.Owners, q.Mint, q.Decimals
		}},
		"fence-with-mint":         {fence(), func(p *Plan) { p.Mint = f.mint }},
		"payout-mints":            {payout(), func(p *Plan) { p.Movements[0].Op = Mint }},
		"two-sources":             {payout(), func(p *Plan) { p.Movements[1].Source = wallet; p.Owners[wallet] = wallet }},
		"no-owner":                {payout(), func(p *Plan) { p.Owners = nil }},
		"owner-of-another":        {payout(), func(p *Plan) { p.Owners[wallet] = wallet }},
		"transfer-from-the-mint":  {payout(), func(p *Plan) { p.Mint = f.reward }},
		"mint-from-a-vault":       {epoch(), func(p *Plan) { p.Mint = wallet }},
		"decimals-9":              {payout(), func(p *Plan) { p.Decimals = 9 }},
		"to-the-mint":             {payout(), func(p *Plan) { p.Movements[0].Destination = f.mint }},
		"to-itself":               {payout(), func(p *Plan) { p.Movements[0].Destination = f.reward }},
		"to-a-signer":             {payout(), func(p *Plan) { p.Movements[0].Destination = p.FeePayer }},
		"to-the-lane":             {payout(), func(p *Plan) { p.Movements[0].Destination = p.Steps[0].Lane }},
		"to-a-one-time-key":       {payout(), func(p *Plan) { p.Movements[0].Destination = p.Steps[0].To }},
		"owner-is-one-time-key":   {payout(), func(p *Plan) { p.Owners[f.reward] = p.Steps[0].From }},
		"mint-is-the-lane":        {epoch(), func(p *Plan) { p.Steps[0].Lane = f.mint }},
		"epoch-two-mints":         {epoch(), func(p *Plan) { p.Movements = append(p.Movements, p.Movements[0]) }},
		"claim-two-transfers":     {claim(), func(p *Plan) { p.Movements = append(p.Movements, p.Movements[0]) }},
		"creates-another-account": {claim(), func(p *Plan) { p.CreateDestinationFor = publicKey("other") }},
		"payout-creates":          {payout(), func(p *Plan) { p.CreateDestinationFor = publicKey("payee 0") }},
		"genesis-no-reference":    {genesis(), func(p *Plan) { p.Reference = ionet.Key{} }},
		"payout-with-reference":   {payout(), func(p *Plan) { p.Reference = GenesisReference(f.mint) }},
		"no-units":                {payout(), func(p *Plan) { p.Budget.ComputeUnits = 0 }},
		"no-data-limit":           {payout(), func(p *Plan) { p.Budget.LoadedBytes = 0 }},
		"too-many-units":          {payout(), func(p *Plan) { p.Budget.ComputeUnits = maxUnits + 1 }},
		"priority-of-11-sol":      {payout(), func(p *Plan) { p.Budget.PriorityLamports = 11e9 }},
		"memo-of-two-lines":       {payout(), func(p *Plan) { p.Memo += "\n" }},
		"memo-not-utf8":           {payout(), func(p *Plan) { p.Memo += "\xff" }},
	} {
		if err := c.plan.Check(); err != nil {
			t.Fatalf("%s: the plan does not hold before it is changed: %v", name, err)
		}
		c.with(&c.plan)
		if err := c.plan.Check(); err == nil {
			t.Errorf("%s: Check accepts it", name)
		}
		if _, err := c.plan.Message(); err == nil {
			t.Errorf("%s: Message builds it", name)
		}
	}
}

func (f fixture) eleven(t *testing.T, p *Plan) {
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		f.step(t, p, f.first(n))
	}
}

// foreign builds transactions that Plan would not, from instructions.
func foreign(t *testing.T, p Plan, change func([]Instruction) []Instruction) []byte {
	t.Helper()
	message, err := compile(p.Version, p.FeePayer, change(p.instructions()), p.Blockhash, p.Budget)
	if err != nil {
		t.Fatal(err)
	}
	tx, _, err := SignMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestDecodeRefusesOtherInstructions(t *testing.T) {
	f := newFixture()
	wallet := publicKey("wallet")
	payout, claim := f.payout(t, f.first("pay-0"), 2), f.claim(t, f.first("claim-0"), wallet, 5)
	epoch := f.epoch(t, f.first("epoch"), 5)
	same := func(in []Instruction) []Instruction { return in }
	for name, p := range map[string]Plan{"payout": payout, "claim": claim, "epoch": epoch} {
		if _, err := Decode(foreign(t, p, same)); err != nil {
			t.Fatalf("%s unchanged: %v", name, err)
		}
	}
	insert := func(i int, in Instruction) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction { return slices.Insert(all, i, in) }
	}
	edit := func(i int, e func(*Instruction)) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction { e(&all[i]); return all }
	}
	assertion := func(keys ...Account) Instruction { return Instruction{lighthouse, keys, []byte{1}} }
	approve := Instruction{tokenProgram, []Account{{Key: f.reward, Writable: true}, {Key: wallet}, {Key: PublicOf(f.operator), Signer: true}}, append([]byte{4}, make([]byte, 8)...)}
	for name, tx := range map[string][]byte{
		"step-missing":          foreign(t, payout, func(all []Instruction) []Instruction { return all[1:] }),
		"step-not-first":        foreign(t, payout, func(all []Instruction) []Instruction { all[0], all[1] = all[1], all[0]; return all }),
		"memo-missing":          foreign(t, payout, func(all []Instruction) []Instruction { return all[:len(all)-1] }),
		"memo-twice":            foreign(t, payout, func(all []Instruction) []Instruction { return append(all, all[len(all)-1]) }),
		"memo-signed":           foreign(t, payout, edit(3, func(in *Instruction) { in.Accounts = []Account{{Key: PublicOf(f.operator), Signer: true}} })),
		"memo-v1":               foreign(t, payout, edit(3, func(in *Instruction) { in.Program = mustKey("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo") })),
		"freeze-authority-step": foreign(t, payout, edit(0, func(in *Instruction) { in.Data[1] = 1 })),
		"step-to-none":          foreign(t, payout, edit(0, func(in *Instruction) { in.Data[2] = 0 })),
		"step-trailing-byte":    foreign(t, payout, edit(0, func(in *Instruction) { in.Data = append(in.Data, 0) })),
		"plain-transfer":        foreign(t, payout, edit(1, func(in *Instruction) { in.Data[0] = tokenTransfer })),
		"other-decimals":        foreign(t, payout, edit(2, func(in *Instruction) { in.Data[9] = 7 })),
		"amount-out-of-range":   foreign(t, payout, edit(1, func(in *Instruction) { in.Data[8] = 0x80 })),
		"other-mint":            foreign(t, payout, edit(2, func(in *Instruction) { in.Accounts[1].Key = wallet })),
		"other-source":          foreign(t, payout, edit(2, func(in *Instruction) { in.Accounts[0].Key = wallet })),
		"approve-added":         foreign(t, payout, insert(1, approve)),
		"system-transfer-added": foreign(t, payout, insert(1, transferLamports(PublicOf(f.operator), wallet, 1))),
		"reference-in-payout":   foreign(t, payout, insert(1, transferLamports(PublicOf(f.operator), wallet, 0))),
		"lighthouse-in-payout":  foreign(t, payout, func(all []Instruction) []Instruction { return append(all, assertion()) }),
		"multisig-owner":        foreign(t, payout, edit(1, func(in *Instruction) { in.Accounts = append(in.Accounts, Account{Key: wallet, Signer: true}) })),
		"nonce-advance":         foreign(t, payout, insert(0, Instruction{systemProgram, []Account{{Key: wallet, Writable: true}, {Key: PublicOf(f.operator), Signer: true}}, []byte{4, 0, 0, 0}})),
		"lighthouse-own-key": foreign(t, claim, func(all []Instruction) []Instruction {
			return append(all, assertion(Account{Key: PublicOf(f.operator)}))
		}),
		"lighthouse-lane": foreign(t, claim, func(all []Instruction) []Instruction {
			return append(all, assertion(Account{Key: claim.Steps[0].Lane}))
		}),
		"lighthouse-new-signer": foreign(t, claim, func(all []Instruction) []Instruction {
			return append(all, assertion(Account{Key: publicKey("x"), Signer: true}))
		}),
		"lighthouse-then-other": foreign(t, claim, func(all []Instruction) []Instruction {
			return append(all, assertion(), transferLamports(wallet, f.mint, 1))
		}),
		"create-of-another":     foreign(t, claim, edit(1, func(in *Instruction) { *in = createIdempotent(wallet, publicKey("x"), f.mint) })),
		"create-twice":          foreign(t, claim, insert(1, createIdempotent(wallet, wallet, f.mint))),
		"create-not-idempotent": foreign(t, claim, edit(1, func(in *Instruction) { in.Data = []byte{0} })),
		"writable-mint":         foreign(t, payout, edit(1, func(in *Instruction) { in.Accounts[1].Writable = true })),
		"unrelated-account":     foreign(t, claim, edit(1, func(in *Instruction) { in.Accounts = append(in.Accounts, Account{Key: publicKey("x")}) })),
	} {
		if d, err := Decode(tx); err == nil {
			t.Errorf("%s: decoded as %+v", name, d.Plan)
		}
	}
	for name, add := range map[string][]Instruction{
		"one":              {assertion()},
		"three":            {assertion(Account{Key: wallet}), assertion(), assertion(Account{Key: f.reward})},
		"writable account": {assertion(Account{Key: publicKey("x"), Writable: true})},
	} {
		d, err := Decode(foreign(t, claim, func(all []Instruction) []Instruction { return append(all, add...) }))
		if err != nil || len(d.Lighthouse) != len(add) {
			t.Errorf("%s assertion: %v", name, err)
		}
	}
}

func TestDecodeRefusesBudgets(t *testing.T) {
	f := newFixture()
	p := f.epoch(t, f.first("epoch"), 5)
	for name, change := range map[string]func([]Instruction) []Instruction{
		"none":      func(in []Instruction) []Instruction { return in[3:] },
		"two":       func(in []Instruction) []Instruction { return in[1:] },
		"order":     func(in []Instruction) []Instruction { in[0], in[1] = in[1], in[0]; return in },
		"heap":      func(in []Instruction) []Instruction { in[1].Data = []byte{1, 0, 0, 1, 0}; return in },
		"high":      func(in []Instruction) []Instruction { binary.LittleEndian.PutUint64(in[1].Data[1:], 1<<62); return in },
		"no units":  func(in []Instruction) []Instruction { binary.LittleEndian.PutUint32(in[0].Data[1:], 0); return in },
		"no data":   func(in []Instruction) []Instruction { binary.LittleEndian.PutUint32(in[2].Data[1:], 0); return in },
		"with keys": func(in []Instruction) []Instruction { in[0].Accounts = []Account{{Key: f.mint}}; return in },
	} {
		all := change(append(budgetInstructions(p.Budget), p.instructions()...))
		d := decoder{rest: all, plan: Plan{FeePayer: p.FeePayer}}
		if err := d.read(); err == nil && d.plan.Budget.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAddSignature(t *testing.T) {
	f := newFixture()
	wallet := seeded("wallet")
	p := f.claim(t, f.first("claim-0"), PublicOf(wallet), 5)
	message, err := p.Message()
	if err != nil {
		t.Fatal(err)
	}
	tx, missing, err := SignMessage(message, f.operator)
	if err != nil || len(missing) != 2 {
		t.Fatalf("SignMessage: %v, missing %v", err, missing)
	}
	if _, _, err := SignMessage(message, seeded("stranger")); err == nil {
		t.Error("a stranger signs")
	}
	good := Signature(ed25519.Sign(wallet, message))
	bad := good
	bad[5] ^= 1
	if _, err := AddSignature(tx, PublicOf(wallet), bad); err == nil {
		t.Error("a wrong signature is added")
	}
	if _, err := AddSignature(tx, publicKey("stranger"), good); err == nil {
		t.Error("a stranger's signature is added")
	}
	if tx, err = AddSignature(tx, PublicOf(wallet), good); err != nil {
		t.Fatal(err)
	}
	if tx, err = CoSign(tx, f.secret.Key(f.first("claim-0").c)); err != nil {
		t.Fatal(err)
	}
	if d, err := Decode(tx); err != nil || d.VerifySignatures() != nil || d.Signature() != good {
		t.Errorf("signed by all: %v", err)
	}
	if got, err := ParseSignature(good.String()); err != nil || got != good {
		t.Errorf("ParseSignature: got %s, %v", got, err)
	}
}

func TestContentRules(t *testing.T) {
	f := newFixture()
	at := f.first("pay-0")
	c, err := f.payout(t, at, 3).Content(at.lane, at.n, at.c)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Encode()
	got, err := ParseContent(b)
	if err != nil || !bytes.Equal(got.Encode(), b) || got.Hash() != c.Hash() || got.Next() != c.Next() {
		t.Errorf("ParseContent: %v", err)
	}
	if _, err := ParseContent(append(slices.Clone(b), 0)); err == nil {
		t.Error("a trailing byte is accepted")
	}
	for n := range b {
		if _, err := ParseContent(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(b))
		}
	}
	for i := range b {
		flipped := slices.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		if got, err := ParseContent(flipped); err == nil && (got.Hash() == c.Hash() || got.Next() == c.Next()) {
			t.Errorf("byte %d flipped, same hash", i)
		}
	}
	if _, err := f.payout(t, at, 3).Content(f.laneAt("pay-1"), 0, at.c); err == nil {
		t.Error("content of a lane that the plan does not step")
	}
}

func TestContentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) ionet.Key {
			return ionet.Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		})
		c := Content{Kind: KindPayout, Lane: key.Draw(t, "lane"), N: rapid.Uint64().Draw(t, "n"), C: ionet.Hash(key.Draw(t, "c")), Memo: longMemo}
		source := key.Draw(t, "source")
		for range rapid.IntRange(1, 60).Draw(t, "movements") {
			to := key.Draw(t, "to")
			if to == source {
				t.Skip("to itself")
			}
			c.Movements = append(c.Movements, Movement{Transfer, source, to, ionet.MustAmount(rapid.Uint64Max(1<<63-1).Draw(t, "amount"))})
		}
		got, err := ParseContent(c.Encode())
		if err != nil || !bytes.Equal(got.Encode(), c.Encode()) {
			t.Fatalf("round trip: %v", err)
		}
	})
}

func TestParseAccounts(t *testing.T) {
	key := publicKey("authority")
	mint := slices.Concat([]byte{1, 0, 0, 0}, key[:], make([]byte, 8), []byte{0, 1}, make([]byte, 36))
	if got, err := ParseLane(tokenProgram, mint); err != nil || got != key {
		t.Errorf("ParseLane: got %s, %v", got, err)
	}
	for name, change := range map[string]func([]byte){
		"supply":       func(b []byte) { b[36] = 1 },
		"decimals":     func(b []byte) { b[44] = 1 },
		"state":        func(b []byte) { b[45] = 0 },
		"freeze":       func(b []byte) { b[46], b[50] = 1, 1 },
		"no authority": func(b []byte) { b[0] = 0 },
		"option tag":   func(b []byte) { b[0] = 2 },
	} {
		b := slices.Clone(mint)
		change(b)
		if _, err := ParseLane(tokenProgram, b); err == nil {
			t.Errorf("lane with %s is accepted", name)
		}
	}
	if _, err := ParseLane(ionet.Key{}, nil); !errors.Is(err, ErrNoAccount) {
		t.Errorf("lane that is not there: got %v, want ErrNoAccount", err)
	}
	if _, err := ParseMint(mustKey("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"), mint); err == nil {
		t.Error("mint of Token-2022 is accepted")
	}
	if _, err := ParseMint(tokenProgram, append(mint, 0)); err == nil {
		t.Error("mint of 83 bytes is accepted")
	}
	account := make([]byte, TokenAccountSize)
	copy(account, key[:])
	account[64], account[108] = 7, 2
	if got, err := ParseTokenAccount(tokenProgram, account); err != nil || got.Mint != key || got.Amount != 7 || !got.Frozen {
		t.Errorf("ParseTokenAccount: got %+v, %v", got, err)
	}
	for name, i := range map[string]int{"delegate tag": 72, "state": 108, "native tag": 109, "close tag": 129} {
		b := slices.Clone(account)
		b[i] = 9
		if _, err := ParseTokenAccount(tokenProgram, b); err == nil {
			t.Errorf("token account with a wrong %s is accepted", name)
		}
	}
}

func TestKeypairFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k.json")
	key := seeded("file")
	if err := WriteKeypair(path, key); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadKeypair(path); err != nil || !got.Equal(key) {
		t.Errorf("ReadKeypair: %v", err)
	}
	if err := WriteKeypair(path, seeded("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrite: got %v, want ErrExist", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v, want one file", entries, err)
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeypair(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("file that others may read: got %v, want a hint", err)
		}
	}
	numbers := make([]int, 64)
	swapped := slices.Clone(key)
	copy(swapped[32:], make([]byte, 32))
	for i, b := range swapped {
		numbers[i] = int(b)
	}
	halves, _ := json.Marshal(numbers)
	for name, text := range map[string]string{"empty": "", "short": "[1,2,3]", "large numbers": strings.Replace(string(halves), "[", "[256,", 1), "wrong public half": string(halves), "object": "{}"} {
		p := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeypair(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := ReadSecret(p); err == nil {
			t.Errorf("%s: accepted as a secret", name)
		}
	}
	// What is wrong is told as it is: a folder is no file with a wrong mode, and no
	// error names a temporary file.
	if _, err := ReadKeypair(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: got %v", err)
	}
	for _, p := range []string{filepath.Join(dir, "missing", "k.json"), path} {
		if err := WriteKeypair(p, key); err == nil || !strings.Contains(err.Error(), p) || strings.Contains(err.Error(), ".key-") {
			t.Errorf("write %s: got %v", p, err)
		}
	}
	secret := filepath.Join(dir, "s.json")
	if err := WriteSecret(secret, testSecret()); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadSecret(secret); err != nil || got != testSecret() {
		t.Errorf("ReadSecret: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range plans(f) {
		f.Add(c.Tx)
	}
	f.Fuzz(func(t *testing.T, tx []byte) {
		d, err := Decode(tx)
		if err != nil {
			return
		}
		if len(d.Lighthouse) > 0 {
			return
		}
		message, err := d.Plan.Message()
		if err != nil {
			t.Fatalf("what was decoded can't be built: %v", err)
		}
		again, err := Decode(slices.Concat(message, make([]byte, 64*len(d.Signers))))
		if d.Plan.Version == 0 {
			again, err = Decode(slices.Concat([]byte{byte(len(d.Signers))}, make([]byte, 64*len(d.Signers)), message))
		}
		if err != nil {
			t.Fatalf("built again, it does not decode: %v", err)
		}
		if a, b := d.Plan.Steps[0].Lane, again.Plan.Steps[0].Lane; a != b {
			t.Fatalf("lane %s became %s", a, b)
		}
		x, _ := d.Content(d.Plan.Steps[0].Lane, 1, ionet.Hash{})
		y, _ := again.Content(d.Plan.Steps[0].Lane, 1, ionet.Hash{})
		if x.Hash() != y.Hash() {
			t.Fatal("content changed")
		}
	})
}

func FuzzParseContent(f *testing.F) {
	fx := newFixture()
	at := fx.first("pay-0")
	c, err := fx.payout(f, at, 2).Content(at.lane, at.n, at.c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseContent(b); err == nil && !bytes.Equal(c.Encode(), b) {
			t.Fatal("parsed content encodes to other bytes")
		}
	})
}

func FuzzParseAccounts(f *testing.F) {
	f.Add(make([]byte, MintSize))
	f.Add(make([]byte, TokenAccountSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseLane(tokenProgram, b)
		_, _ = ParseTokenAccount(tokenProgram, b)
	})
}
