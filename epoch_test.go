package ionet

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClockCheck(t *testing.T) {
	for _, c := range []struct {
		clock Clock
		want  string
	}{
		{Clock{Start: 1, Length: 3600, Samples: 60}, ""},
		{Clock{Start: 1, Length: 10, Samples: 5}, ""},
		{Clock{Start: 1, Length: 1, Samples: 1}, ""},
		{Clock{Start: 0, Length: 3600, Samples: 60}, "start 0 "},
		{Clock{Start: -5, Length: 3600, Samples: 60}, "start -5 "},
		{Clock{Start: 1, Length: 3600}, "samples is 0"},
		{Clock{Start: 1, Length: 0, Samples: 60}, "epoch_seconds 0 "},
		{Clock{Start: 1, Length: 3601, Samples: 60}, "epoch_seconds 3601 is not a positive multiple of samples 60"},
		{Clock{Start: 1, Length: 30, Samples: 60}, "epoch_seconds 30 "},
	} {
		err := c.clock.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.clock, err, c.want)
		}
	}
}

func TestClockAt(t *testing.T) {
	c := Clock{Start: 1_000_000, Length: 3600, Samples: 60}
	for _, x := range []struct {
		second int64
		nanos  int64
		epoch  uint64
		sample uint16
		ok     bool
	}{
		{0, 0, 0, 0, false},
		{999_999, 999_999_999, 0, 0, false},
		{1_000_000, 0, 1, 0, true},
		{1_000_059, 999_999_999, 1, 0, true},
		{1_000_060, 0, 1, 1, true},
		{1_003_599, 0, 1, 59, true},
		{1_003_600, 0, 2, 0, true},
		{1_000_000 + 3600*175_318, 0, 175_319, 0, true},
	} {
		epoch, sample, ok := c.At(time.Unix(x.second, x.nanos))
		if epoch != x.epoch || sample != x.sample || ok != x.ok {
			t.Errorf("%d.%09d: got %d, %d, %t, want %d, %d, %t", x.second, x.nanos, epoch, sample, ok, x.epoch, x.sample, x.ok)
		}
	}
}

// Epochs and samples tile time without gap or overlap, and ordinals count them.
func TestClockTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.Uint16Range(1, 3600).Draw(t, "samples")
		c := Clock{
			Start:   rapid.Int64Range(1, 1<<40).Draw(t, "start"),
			Length:  uint32(samples) * rapid.Uint32Range(1, 1<<19).Draw(t, "sample seconds"),
			Samples: samples,
		}
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		k := rapid.Uint64Range(1, 1<<20).Draw(t, "epoch")
		s := rapid.Uint16Range(0, samples-1).Draw(t, "sample")
		first := c.SampleStart(k, s)
		last := first + c.SampleSeconds() - 1
		for _, second := range []int64{first, last, rapid.Int64Range(first, last).Draw(t, "second")} {
			if epoch, sample, ok := c.At(time.Unix(second, 0)); epoch != k || sample != s || !ok {
				t.Fatalf("second %d: got %d, %d, %t, want %d, %d", second, epoch, sample, ok, k, s)
			}
		}
		epoch, sample, _ := c.At(time.Unix(last+1, 0))
		if c.Ordinal(epoch, sample) != c.Ordinal(k, s)+1 {
			t.Fatalf("after sample %d of epoch %d comes %d of %d", s, k, sample, epoch)
		}
		if c.SampleStart(k, 0) != c.EpochStart(k) || c.EpochEnd(k) != c.EpochStart(k+1) || c.EpochStart(1) != c.Start {
			t.Fatalf("epoch %d runs from %d to %d, its first sample from %d", k, c.EpochStart(k), c.EpochEnd(k), c.SampleStart(k, 0))
		}
	})
}
