package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// ionetSays runs a command that must succeed.
func ionetSays(t *testing.T, args ...string) string {
	t.Helper()
	var out, diagnostics bytes.Buffer
	if err := run(t.Context(), args, &out, &diagnostics); err != nil {
		t.Fatalf("ionet %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

// records reads what --format csv printed, keyed by the names of the columns.
func records(t *testing.T, text string) (rows []map[string]string) {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func amount(t *testing.T, tokens string, decimals int) ionet.Amount {
	t.Helper()
	a, err := ionet.ParseTokens(tokens, decimals)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The tables that were published are of a tenth of our scale.
func tenth(t *testing.T, tokens string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(tokens)
	if !ok {
		t.Fatalf("%q is no number", tokens)
	}
	return r.Quo(r, big.NewRat(10, 1))
}

func published(t *testing.T, name string, into any) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("../../emissions/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, into); err != nil {
		t.Fatal(err)
	}
}

// The hourly table to its printed digit.
func TestPublishedHours(t *testing.T) {
	var table struct {
		Rows []struct {
			Emission string `json:"emission"`
			Supply   string `json:"total_supply"`
		} `json:"rows"`
	}
	published(t, "emission_hourly_published.json", &table)
	rows := records(t, ionetSays(t, "emissions", "--by", "epoch", "--to", strconv.Itoa(len(table.Rows)), "--format", "csv"))
	if len(rows) == 0 || len(rows) != len(table.Rows) {
		t.Fatalf("got %d rows, want %d", len(rows), len(table.Rows))
	}
	genesis := big.NewRat(500_000_000, 1)
	for i, want := range table.Rows {
		if got := tenth(t, rows[i]["emission"]).FloatString(2); got != want.Emission {
			t.Errorf("epoch %d: emission %s, want %s", i+1, got, want.Emission)
		}
		supply := tenth(t, rows[i]["emitted"])
		if got := supply.Add(supply, genesis).FloatString(2); got != want.Supply {
			t.Errorf("epoch %d: supply %s, want %s", i+1, got, want.Supply)
		}
	}
}

// The monthly table. It does not quite follow from its own factor: by the twelfth
// month the formula is 8 tokens above what is printed (emissions' tests say more).
func TestPublishedMonths(t *testing.T) {
	var table struct {
		Months []string `json:"months"`
	}
	published(t, "emission_monthly_published.json", &table)
	rows := records(t, ionetSays(t, "emissions", "--profile", "monthly", "--by", "month", "--format", "csv"))
	if len(rows) != 240 || len(table.Months) == 0 {
		t.Fatalf("got %d rows for 240 months", len(rows))
	}
	for i, want := range table.Months {
		got := tenth(t, rows[i]["emission"])
		above := new(big.Rat).Sub(got, tenth(t, want+"0"))
		if above.Cmp(big.NewRat(-1, 2)) < 0 || above.Cmp(big.NewRat(8, 1)) > 0 {
			t.Errorf("month %d: emission %s, want up to 8 above %s", i+1, got.FloatString(2), want)
		}
	}
}

// In every unit the rows' emissions sum to what the cap leaves, and each row's
// amounts fit one another.
func TestRowsSum(t *testing.T) {
	for _, c := range []struct {
		profile  string
		decimals int
		rows     map[string]int
	}{
		{"hourly", 8, map[string]int{"epoch": 175_319, "month": 241, "year": 21}},
		{"hourly", 0, map[string]int{"month": 241}},
		{"monthly", 8, map[string]int{"month": 240, "year": 20}},
		{"monthly", 3, map[string]int{"year": 20}},
	} {
		for by, want := range c.rows {
			out := ionetSays(t, "emissions", "--profile", c.profile, "--decimals", strconv.Itoa(c.decimals), "--by", by, "--format", "csv")
			rows := records(t, out)
			if len(rows) != want {
				t.Errorf("%s by %s: got %d rows, want %d", c.profile, by, len(rows), want)
			}
			of := func(row map[string]string, name string) uint64 { return amount(t, row[name], c.decimals).Base() }
			limit, genesis := amount(t, "3000000000", c.decimals).Base(), amount(t, "5000000000", c.decimals).Base()
			var sum, unlocked, last uint64
			for i, r := range rows {
				sum += of(r, "emission")
				if of(r, "emitted") != sum || of(r, "remaining") != limit-sum || of(r, "circulating") != of(r, "unlocked")+sum {
					t.Fatalf("%s by %s: row %d does not fit: %v", c.profile, by, i+1, r)
				}
				if r[by] != strconv.Itoa(i+1) || r["first_epoch"] != strconv.FormatUint(last+1, 10) || of(r, "unlocked") < unlocked {
					t.Fatalf("%s by %s: row %d does not follow: %v", c.profile, by, i+1, r)
				}
				unlocked = of(r, "unlocked")
				last, _ = strconv.ParseUint(r["last_epoch"], 10, 64)
			}
			if sum != limit || unlocked != genesis {
				t.Errorf("%s by %s: emissions sum to %d, want %d; unlocked are %d, want %d", c.profile, by, sum, limit, unlocked, genesis)
			}
		}
	}
}

// document is what --format json prints.
type document struct {
	Header header    `json:"header"`
	By     string    `json:"by"`
	Rows   []jsonRow `json:"rows"`
}

func TestJSONIsTheSameAsCSV(t *testing.T) {
	args := []string{"emissions", "--by", "month", "--from", "230", "--decimals", "5"}
	dec := json.NewDecoder(strings.NewReader(ionetSays(t, append(args, "--format", "json")...)))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Errorf("after the document: %v", err)
	}
	p, err := emissions.Hourly(5)
	if err != nil {
		t.Fatal(err)
	}
	if h := d.Header; h.Genesis != p.Genesis || h.Cap != p.Cap || h.Epochs != p.Epochs || h.Decimals != 5 || h.Profile != "hourly" || d.By != "month" {
		t.Errorf("header %+v by %s", h, d.By)
	}
	rows := records(t, ionetSays(t, append(args, "--format", "csv")...))
	if len(rows) != 12 || len(d.Rows) != len(rows) {
		t.Fatalf("%d rows in JSON, %d in CSV, want 12", len(d.Rows), len(rows))
	}
	for i, r := range d.Rows {
		got := map[string]string{
			"month": decimal(r.Number), "first_epoch": decimal(r.FirstEpoch), "last_epoch": decimal(r.LastEpoch), "begins": r.Begins.Format(time.RFC3339),
			"emission": r.Emission.Tokens(5), "emitted": r.Emitted.Tokens(5), "unlocked": r.Unlocked.Tokens(5),
			"circulating": r.Circulating.Tokens(5), "remaining": r.Remaining.Tokens(5),
		}
		for name, want := range rows[i] {
			if got[name] != want {
				t.Errorf("row %d: %s is %s in JSON, %s in CSV", i, name, got[name], want)
			}
		}
	}
}

// The vector holds what the rows say, and its hash is that of the file.
func TestVector(t *testing.T) {
	name := filepath.Join(t.TempDir(), "emissions.bin")
	said := strings.TrimSpace(ionetSays(t, "emissions", "--vector", name, "--hash"))
	vector, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(vector); said != hex.EncodeToString(sum[:]) {
		t.Errorf("hash %s of a file with %x", said, sum)
	}
	if len(vector) != 8*175_319 {
		t.Fatalf("vector has %d bytes", len(vector))
	}
	for _, r := range records(t, ionetSays(t, "emissions", "--by", "epoch", "--from", "175000", "--format", "csv")) {
		k, err := strconv.Atoi(r["epoch"])
		if err != nil {
			t.Fatal(err)
		}
		if got, want := binary.LittleEndian.Uint64(vector[8*(k-1):]), amount(t, r["emission"], 8).Base(); got != want {
			t.Errorf("epoch %d: %d in the vector, %d in its row", k, got, want)
		}
	}
}

// A network is shown as its file says, and its hash is the one that its genesis
// memo commits to.
func TestNetworkFile(t *testing.T) {
	dir, begins := t.TempDir(), time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC)
	decimals := 6
	prepared, err := genesis.Prepare(t.Context(), genesis.Config{
		Dir: dir, Name: "town", Cluster: public("cluster"), Start: begins, Profile: emissions.ProfileMonthly, Decimals: &decimals, EpochSeconds: 1800, Samples: 60,
		PayLanes: 1, ClaimLanes: 1, Reading: emissions.OfGenesis, Policy: emissions.DefaultPolicy(),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, genesis.NetworkFile)
	memo := proofs.GenesisMemo{Network: prepared.Network.ID(), Emission: prepared.Network.Schedule.Hash}
	if got := strings.TrimSpace(ionetSays(t, "emissions", "--network", file, "--hash")); !strings.Contains(memo.String(), got) {
		t.Errorf("hash %s is not in the genesis memo %q", got, memo)
	}
	out := ionetSays(t, "emissions", "--network", file, "--at", "2026-12-01T01:00:00Z")
	for _, want := range []string{"network town: genesis 5,000,000,000, cap 8,000,000,000, 175,200 epochs from 2026-12-01T00:00:00Z", ": 2 epochs have ended", "625,000,000.000000"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	text := strings.Replace(string(prepared.NetworkFile), prepared.Network.Schedule.Hash.String(), strings.Repeat("ab", 32), 1)
	forged := filepath.Join(dir, "forged.toml")
	if err := os.WriteFile(forged, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var none bytes.Buffer
	err = run(t.Context(), []string{"emissions", "--network", forged, "--hash"}, &none, &none)
	if err == nil || !strings.Contains(err.Error(), "schedule.hash is abab") || none.Len() > 0 {
		t.Errorf("forged file: %v, printed %q", err, none.String())
	}
}

// A reader that goes away is no error.
func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "csv", "json"} {
		if err := run(t.Context(), []string{"emissions", "--by", "epoch", "--format", format}, w, io.Discard); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := run(t.Context(), []string{"emissions", "--by", "epoch"}, failing{}, io.Discard); err == nil {
		t.Error("a disk that is full is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
