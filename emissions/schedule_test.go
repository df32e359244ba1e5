package emissions

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

func hourly(t testing.TB, decimals int) *Schedule {
	t.Helper()
	p, err := Hourly(decimals)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readVector(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func TestHourlyVector(t *testing.T) {
	var v struct {
		Epochs     uint64
		Total      string
		Emission   map[string]ionet.Amount
		Cumulative map[string]ionet.Amount
	}
	readVector(t, "emission_hourly_5b.json", &v)
	s := hourly(t, 8)
	if s.Epochs() != v.Epochs {
		t.Errorf("epochs: got %d, want %d", s.Epochs(), v.Epochs)
	}
	compare := func(kind string, f func(uint64) (ionet.Amount, error), want map[string]ionet.Amount) {
		if len(want) == 0 {
			t.Errorf("vector has no %s", kind)
		}
		for name, w := range want {
			k, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f(k); err != nil || got != w {
				t.Errorf("%s %d: got %s, %v, want %s", kind, k, got, err, w)
			}
		}
	}
	compare("emission", s.Emission, v.Emission)
	compare("cumulative", s.Cumulative, v.Cumulative)
}

// The published table has two decimals and 500 million tokens at genesis.
func TestPublishedHourlyTable(t *testing.T) {
	var v struct {
		Genesis string
		Rows    []struct {
			Epoch       uint64
			Emission    string
			TotalSupply string `json:"total_supply"`
		}
	}
	readVector(t, "emission_hourly_published.json", &v)
	p, err := Hourly(7)
	if err != nil {
		t.Fatal(err)
	}
	// 5 billion tokens of 7 decimals are 500 million of 8.
	if got := p.Genesis.Tokens(8); got != v.Genesis+".00000000" {
		t.Fatalf("genesis: got %s, want %s", got, v.Genesis)
	}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Rows) != 6 {
		t.Fatalf("rows: got %d, want 6", len(v.Rows))
	}
	for _, row := range v.Rows {
		emission, err := s.Emission(row.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		upTo, err := s.Cumulative(row.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		supply, err := p.Genesis.Add(upTo)
		if err != nil {
			t.Fatal(err)
		}
		if got := cents(emission); got != row.Emission {
			t.Errorf("emission %d: got %s, want %s", row.Epoch, got, row.Emission)
		}
		if got := cents(supply); got != row.TotalSupply {
			t.Errorf("supply after %d: got %s, want %s", row.Epoch, got, row.TotalSupply)
		}
	}
}

// cents rounds an amount of 8 decimals to two, as the published table does.
func cents(a ionet.Amount) string {
	return ionet.MustAmount((a.Base() + 500_000) / 1_000_000).Tokens(2)
}

// monthly is the published monthly profile; decay is 1 less its factor.
func monthly(t testing.TB, genesis, limit, decay string) *Schedule {
	t.Helper()
	g, err := ionet.ParseTokens(genesis, 8)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ionet.ParseTokens(limit, 8)
	if err != nil {
		t.Fatal(err)
	}
	s, err := prepare(Params{Genesis: g, Cap: c, Epochs: 240, FirstYearRate: "0.08", StepsPerYear: 12, Decay: decay, EpochsPerStep: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The older, monthly table, in whole tokens. It does not quite follow from the
// factor that is published with it, 0.989849199: the two drift apart by about
// 0.7 tokens a month, 8 by the twelfth. (The vector's own note says "within 4",
// which holds for the first five rows only.) That the rows are a geometric
// series all the same is checked to the token: the factor 0.989848955, which is
// ours, fitted to the rows, gives each of them.
func TestPublishedMonthlyTable(t *testing.T) {
	var v struct {
		Genesis string
		Months  []string
	}
	readVector(t, "emission_monthly_published.json", &v)
	if len(v.Months) != 12 {
		t.Fatalf("months: got %d, want 12", len(v.Months))
	}
	published := monthly(t, v.Genesis, "800000000", "0.010150801")
	fitted := monthly(t, v.Genesis, "800000000", "0.010151045")
	for i, printed := range v.Months {
		want, err := ionet.ParseTokens(printed, 8)
		if err != nil {
			t.Fatal(err)
		}
		got, err := published.Emission(uint64(i + 1))
		if err != nil {
			t.Fatal(err)
		}
		if above := got.Int64() - want.Int64(); above < 0 || above > 8e8 {
			t.Errorf("month %d: got %s, want up to 8 tokens above %s", i+1, got.Tokens(8), printed)
		}
		if got, err = fitted.Emission(uint64(i + 1)); err != nil {
			t.Fatal(err)
		}
		if rounded := strconv.FormatUint((got.Base()+5e7)/1e8, 10); rounded != printed {
			t.Errorf("month %d with the fitted factor: got %s, want %s", i+1, rounded, printed)
		}
	}
}

// Without a cap in its way the monthly formula emits 5,578.78 tokens too many.
func TestMonthlyScheduleIsClamped(t *testing.T) {
	total := func(limit string) string {
		a, err := monthly(t, "500000000", limit, "0.010150801").Cumulative(240)
		if err != nil {
			t.Fatal(err)
		}
		return cents(a)
	}
	if got, want := total("800000000"), "300000000.00"; got != want {
		t.Errorf("with the cap: got %s, want %s", got, want)
	}
	if got, want := total("900000000"), "300005578.78"; got != want {
		t.Errorf("far below the cap: got %s, want %s", got, want)
	}
}

// Every epoch of every token scale, summed one by one: exactly 3 billion tokens,
// never more than the cap on the way, each emission at most a unit above the one
// before it, and each scale the next one divided by ten.
func TestAllHourlyEpochs(t *testing.T) {
	schedules := make([]*Schedule, ionet.MaxDecimals+1)
	sums := make([]ionet.Amount, len(schedules))
	last := make([]ionet.Amount, len(schedules))
	for d := range schedules {
		schedules[d] = hourly(t, d)
		if n := len(schedules[d].decided); n != 0 {
			t.Errorf("decimals %d: the bounds left %d floors open, want none", d, n)
		}
	}
	for k := uint64(1); k <= 175_319; k++ {
		for d, s := range schedules {
			e, err := s.Emission(k)
			if err != nil {
				t.Fatal(err)
			}
			if k > 1 && e.Base() > last[d].Base()+1 {
				t.Fatalf("decimals %d, epoch %d: emission %s after %s", d, k, e, last[d])
			}
			last[d] = e
			if sums[d], err = sums[d].Add(e); err != nil {
				t.Fatal(err)
			}
			if d > 0 && sums[d].Base()/10 != sums[d-1].Base() {
				t.Fatalf("epoch %d: %s with %d decimals, %s with %d", k, sums[d], d, sums[d-1], d-1)
			}
			if sums[d].Base() > s.limit {
				t.Fatalf("decimals %d, epoch %d: sum %s is above %d", d, k, sums[d], s.limit)
			}
		}
	}
	for d, sum := range sums {
		want, err := ionet.ParseTokens("3000000000", d)
		if err != nil {
			t.Fatal(err)
		}
		if sum != want {
			t.Errorf("decimals %d: got %s, want %s", d, sum, want)
		}
	}
}

func TestEpochRange(t *testing.T) {
	s := hourly(t, 8)
	if got, err := s.Cumulative(0); err != nil || !got.IsZero() {
		t.Errorf("cumulative 0: got %s, %v, want 0", got, err)
	}
	for name, f := range map[string]func() (ionet.Amount, error){
		"emission 0":          func() (ionet.Amount, error) { return s.Emission(0) },
		"emission after last": func() (ionet.Amount, error) { return s.Emission(175_320) },
		"cumulative after":    func() (ionet.Amount, error) { return s.Cumulative(175_320) },
		"cumulative max":      func() (ionet.Amount, error) { return s.Cumulative(1<<64 - 1) },
	} {
		if got, err := f(); !errors.Is(err, ErrEpochRange) {
			t.Errorf("%s: got %s, %v, want ErrEpochRange", name, got, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Params{
		Genesis: ionet.MustAmount(1000), Cap: ionet.MustAmount(1400), Epochs: 10,
		FirstYearRate: "0.08", StepsPerYear: 1, Decay: "0.1", EpochsPerStep: 1,
	}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Params)
		want   string
	}{
		{func(p *Params) { p.Genesis = ionet.Amount{} }, "genesis supply is 0"},
		{func(p *Params) { p.Cap = ionet.MustAmount(999) }, "cap 999 is below the genesis supply 1000"},
		{func(p *Params) { p.Epochs = 0 }, "epochs 0 is not in 1..1048576"},
		{func(p *Params) { p.Epochs = MaxEpochs + 1 }, "epochs 1048577 is not in"},
		{func(p *Params) { p.StepsPerYear = MaxEpochs + 1 }, "steps per year 1048577 is not in"},
		{func(p *Params) { p.StepsPerYear = 0 }, "steps per year 0 is not in"},
		{func(p *Params) { p.EpochsPerStep = 3 }, "epochs per step 3 does not divide the 10 epochs"},
		{func(p *Params) { p.EpochsPerStep = 0 }, "epochs per step 0 does not divide the 10 epochs"},
		{func(p *Params) { p.Cap = ionet.MustAmount(1522) }, "cap 1522 is never reached: the 10 epochs emit 521 of the 522"},
		{func(p *Params) { p.Decay = "0" }, "decay 0 is not between 0 and 1"},
		{func(p *Params) { p.Decay = "1" }, "decay 1 is not between 0 and 1"},
		{func(p *Params) { p.Decay = "-0.1" }, `decay "-0.1" is not an exact decimal`},
		{func(p *Params) { p.Decay = "1e-5" }, `decay "1e-5" is not an exact decimal`},
		{func(p *Params) { p.Decay = ".1" }, `decay ".1" is not an exact decimal`},
		{func(p *Params) { p.Decay = "0." }, `decay "0." is not an exact decimal`},
		{func(p *Params) { p.Decay = "1/3" }, `decay "1/3" is not an exact decimal`},
		{func(p *Params) { p.Decay = "0." + strings.Repeat("1", 39) }, "is not an exact decimal of at most 40"},
		{func(p *Params) { p.FirstYearRate = "" }, `first year rate "" is not an exact decimal`},
		{func(p *Params) { p.FirstYearRate = "00.1" }, `first year rate "00.1" is not an exact decimal`},
		{func(p *Params) { p.FirstYearRate = "0_1" }, `first year rate "0_1" is not an exact decimal`},
		{func(p *Params) { p.FirstYearRate = "1" + strings.Repeat("0", 39) }, "is too large for 128 bits"},
	} {
		p := good
		c.change(&p)
		if _, err := New(p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", p, err, c.want)
		}
	}
	if _, err := Hourly(9); err == nil {
		t.Error("nine decimals were accepted")
	}
}

func BenchmarkNewHourly(b *testing.B) {
	p, err := Hourly(8)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := New(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmission(b *testing.B) {
	s := hourly(b, 8)
	var k uint64
	for b.Loop() {
		if _, err := s.Emission(k%s.params.Epochs + 1); err != nil {
			b.Fatal(err)
		}
		k += 7919
	}
}

func BenchmarkNewMonthly(b *testing.B) {
	p, err := Monthly(8)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := New(p); err != nil {
			b.Fatal(err)
		}
	}
}
