package emissions

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

const scheduleFile = `decimals = 8
genesis = "500000000000000000"
cap = "800000000000000000"
epochs = 175200
first_year_rate = "0.08"
steps_per_year = 12
decay = "0.010150801"
epochs_per_step = 730
`

func TestParseSchedule(t *testing.T) {
	got, decimals, err := ParseSchedule([]byte(scheduleFile))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Profile(ProfileMonthly, 8)
	if err != nil {
		t.Fatal(err)
	}
	if got != want || decimals != 8 {
		t.Errorf("got %+v of %d decimals, want %+v of 8", got, decimals, want)
	}
	got, _, err = ParseSchedule([]byte(strings.Replace(scheduleFile, "epochs_per_step = 730\n", "", 1)))
	if err != nil || got.EpochsPerStep != 1 {
		t.Errorf("without epochs_per_step: got %d, %v, want 1", got.EpochsPerStep, err)
	}
	if again := ParamsOf(want.Info(ionet.Hash{1})); again != want {
		t.Errorf("through a network file: got %+v, want %+v", again, want)
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"decimals = 8", "", "decimals: missing"},
		{"decimals = 8", "decimals = 9", "decimals: 9 is not a whole number in 0..8"},
		{"decimals = 8", "decimals = 8\ncolour = 1", "colour: unknown key; allowed here are cap, decay, decimals, epochs"},
		{`"500000000000000000"`, "5", "genesis: 5 is not a string of base units"},
		{`"500000000000000000"`, `"0"`, `genesis: "0" is not a string of base units in 1..9223372036854775807`},
		{"decay =", "dekay =", `decay: missing; is "dekay" meant?`},
		{"first_year_rate =", "rate =", "first_year_rate: missing"},
		{`"800000000000000000"`, `"1"`, "cap 1 is below the genesis supply"},
		{"epochs = 175200", "epochs = 1048577", "epochs: 1048577 is not a whole number in 1..1048576"},
		{"epochs = 175200", "epochs = 175319", "epochs per step 730 does not divide the 175319 epochs"},
		{`"0.08"`, "0.08", `first_year_rate: 0.08 is not a string with an exact decimal of at most 40 characters, such as "0.08"`},
		{`"0.08"`, `"8%"`, `first_year_rate: "8%" is not a string with an exact decimal`},
		{"steps_per_year = 12", "steps_per_year = 0", "steps_per_year: 0 is not a whole number in 1..1048576"},
		{`"0.010150801"`, `"1"`, "decay 1 is not between 0 and 1"},
		{"epochs_per_step = 730", "epochs_per_step = 0", "epochs_per_step: 0 is not a whole number in 1..1048576"},
		{"epochs = 175200", "epochs 175200", "parse TOML, line 4"},
	} {
		file := strings.Replace(scheduleFile, c.old, c.new, 1)
		if file == scheduleFile {
			t.Fatalf("%q does not stand in the file", c.old)
		}
		if _, _, err := ParseSchedule([]byte(file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q:\ngot  %v\nwant %s", c.new, c.old, err, c.want)
		}
	}
	if _, _, err := ParseSchedule(make([]byte, maxScheduleBytes+1)); err == nil {
		t.Error("a schedule of more than 65,536 bytes was accepted")
	}
}

func TestProfileRefuses(t *testing.T) {
	if _, err := Profile("weekly", 8); err == nil || !strings.Contains(err.Error(), `"weekly" is neither "hourly" nor "monthly"`) {
		t.Errorf("got %v", err)
	}
	if _, err := Profile(ProfileMonthly, 9); err == nil {
		t.Error("nine decimals were accepted")
	}
}

// Months are those of the formula, each hour has a 730th of its month, and the
// last month has what the cap leaves: every hour of 20 years emits something.
func TestMonthlyProfile(t *testing.T) {
	p, err := Monthly(8)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	months := monthly(t, "5000000000", "8000000000", "0.010150801")
	var before, sum uint64
	for m := uint64(1); m <= 240; m++ {
		of, err := months.Cumulative(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Cumulative(m * EpochsPerMonth)
		if err != nil || got != of {
			t.Fatalf("month %d: got %s, %v, want %s", m, got, err, of)
		}
		each := (of.Base() - before) / EpochsPerMonth
		for k := (m-1)*EpochsPerMonth + 1; k <= m*EpochsPerMonth; k++ {
			e, err := s.Emission(k)
			if err != nil {
				t.Fatal(err)
			}
			if n := e.Base(); n == 0 || n+1 < each || n > each+1 {
				t.Fatalf("epoch %d: got %d, month %d has %d an hour", k, n, m, each)
			}
			sum += e.Base()
		}
		before = of.Base()
	}
	if sum != 3e17 {
		t.Errorf("sum: got %d, want 3e17", sum)
	}
	for k, n := range s.decided {
		exact := rationalSum(t, p, k)
		if !exact.IsInt() || exact.Num().Uint64() != n {
			t.Errorf("epoch %d was left open, though its sum is no integer", k)
		}
	}
}

// The vector is the emissions, and its hash what a genesis memo commits to.
func TestVector(t *testing.T) {
	s := hourly(t, 8)
	vector := s.Vector()
	if len(vector) != 8*175_319 {
		t.Fatalf("got %d bytes, want 8 for each of 175,319 epochs", len(vector))
	}
	var sum uint64
	for k := uint64(1); k <= s.Epochs(); k++ {
		e, err := s.Emission(k)
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint64(vector[8*(k-1):]); got != e.Base() {
			t.Fatalf("epoch %d: got %d, want %s", k, got, e)
		}
		sum += e.Base()
	}
	if sum != 3e17 || s.Hash() != sha256.Sum256(vector) {
		t.Errorf("sum %d, hash %s", sum, s.Hash())
	}
}

// With one decimal more, everything is ten times as large, whatever the profile.
func TestScaleByTen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		p.Genesis = ionet.MustAmount(p.Genesis.Base()%(1<<56) + 1)
		p.Cap = ionet.MustAmount(p.Genesis.Base() + rapid.Uint64Range(0, 1<<58).Draw(t, "small emission"))
		ten := p
		ten.Genesis, ten.Cap = ionet.MustAmount(10*p.Genesis.Base()), ionet.MustAmount(10*p.Cap.Base())
		s, err := prepare(p)
		if err != nil {
			t.Fatal(err)
		}
		large, err := prepare(ten)
		if err != nil {
			t.Fatal(err)
		}
		for k := range p.Epochs + 1 {
			if s.floor(k) != large.floor(k)/10 {
				t.Fatalf("%+v, epoch %d: %d, and ten times as large %d", p, k, s.floor(k), large.floor(k))
			}
		}
	})
}

// Reach is the highest cap that New takes.
func TestReach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		reach, err := p.Reach()
		if err != nil {
			t.Skip("more than an amount holds")
		}
		if p.Cap = reach; reach.Cmp(p.Genesis) < 0 {
			t.Fatalf("reach %s is below the genesis supply %s", reach, p.Genesis)
		}
		if _, err := New(p); err != nil {
			t.Errorf("cap %s is refused: %v", reach, err)
		}
		if p.Cap, err = reach.Add(ionet.MustAmount(1)); err != nil {
			return
		}
		if _, err := New(p); err == nil || !strings.Contains(err.Error(), "is never reached") {
			t.Errorf("cap %s: got %v, want a refusal", p.Cap, err)
		}
	})
}

func FuzzParseSchedule(f *testing.F) {
	f.Add([]byte(scheduleFile))
	f.Add([]byte(strings.Replace(scheduleFile, "12", "1048576", 1)))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, decimals, err := ParseSchedule(file)
		if err != nil {
			return
		}
		if decimals < 0 || decimals > ionet.MaxDecimals {
			t.Errorf("decimals %d", decimals)
		}
		if _, err := p.exact(); err != nil {
			t.Errorf("parsed, yet %v", err)
		}
	})
}
