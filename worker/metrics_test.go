package worker

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// scrape asks a worker's metrics over HTTP and returns the values by name and labels.
func scrape(t *testing.T, w *Worker) map[string]float64 {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(w.Metrics(), promhttp.HandlerOpts{}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	must(t, err)
	defer resp.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, found := strings.Cut(strings.TrimPrefix(lines.Text(), "ionet_worker_"), " ")
		if !found || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		must(t, err)
		values[name] = n
	}
	must(t, lines.Err())
	return values
}

func wantValues(t *testing.T, when string, got, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if n, found := got[name]; !found || n != v {
			t.Errorf("%s: %s is %v (%t), want %v", when, name, n, found, v)
		}
	}
}

// TestMetrics reads the metrics of a worker that earns, while the service is away, and
// while a device is.
func TestMetrics(t *testing.T) {
	s := newStage(t)
	made, err := NewSimulation(2, 1, handNow)
	must(t, err)
	devices, err := made.Inventory(t.Context())
	must(t, err)
	h := &host{devices: devices, readings: sampled(t, made)}
	s.sampler = h
	s.openWorker()
	s.live(1, 4)
	acked := countWhere(s.w.spool.uptimes(1), func(it *item) bool { return it.ack != nil })
	if acked < 3 {
		t.Fatalf("only %d statements so far", acked)
	}
	wantValues(t, "at work", scrape(t, s.w), map[string]float64{
		"samples_read_total": 4, "samples_signed_total": float64(len(s.w.spool.uptimes(1))), "samples_accepted_total": float64(acked),
		"samples_skipped_total": 0, "omissions_total": 0, "bad_acks_total": 0, "service_reachable": 1, "clock_skew_seconds": 0.5,
		`devices{state="up"}`: 2, `devices{state="gone"}`: 0, "last_accepted_epoch": 1, "last_accepted_sample": float64(acked - 1),
		"last_accepted_timestamp_seconds": float64(s.net.Network.Clock().SampleStart(1, uint16(acked-1))),
		"spool_bytes":                     float64(s.w.spool.size), "spool_limit_bytes": DefaultSpoolBytes, "simulated": 0,
		"statements_unsealed": float64(len(s.w.spool.uptimes(1))), "statements_unacked": float64(len(s.w.spool.uptimes(1)) - acked),
		"readings_waiting": float64(len(s.w.spool.readings)), "earned_base_units_total": 0, "sealed_epoch": 0,
	})
	s.wire.down.Store(true)
	h.readings = h.readings[:1]
	must(t, s.w.Read(t.Context()))
	handTime.Add(stageSample / 2) // it asks again only then
	must(t, s.w.Call(t.Context()))
	wantValues(t, "without the service", scrape(t, s.w), map[string]float64{
		"samples_read_total": 5, "service_reachable": 0, `devices{state="up"}`: 1, `devices{state="gone"}`: 1,
	})
	s.wire.down.Store(false)
	s.live(2, 4)
	s.sealed(1)
	s.tick()
	sealed := s.saw(EventSealed)
	if len(sealed) != 1 || sealed[0].Amount.IsZero() {
		t.Fatalf("sealed: %v", sealed)
	}
	earned := float64(sealed[0].Amount.Base())
	wantValues(t, "after the seal", scrape(t, s.w), map[string]float64{
		"service_reachable": 1, "sealed_epoch": 1, "last_earned_base_units": earned, "earned_base_units_total": earned,
	})
}

// A scrape is sorted by name: no HELP leans on another one.
func TestMetricsHelpStandsAlone(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	families, err := s.w.Metrics().Gather()
	must(t, err)
	for _, f := range families {
		for _, leaning := range []string{"That ", "that sample", "that epoch", "Of those", " they ", "What they"} {
			if strings.Contains(f.GetHelp(), leaning) {
				t.Errorf("HELP of %s says %q: %s", f.GetName(), leaning, f.GetHelp())
			}
		}
	}
	wantValues(t, "delegated", scrape(t, s.w), map[string]float64{"delegation_expires_seconds": float64(s.w.delegated.Expires)})
}

// What is told to a person is counted.
func TestMetricsCountEvents(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	for _, e := range []Event{
		{Kind: EventRefused, Rule: "late"}, {Kind: EventRefused, Rule: "late"}, {Kind: EventRefused, Rule: "epoch-closed"},
		{Kind: EventSkipped}, {Kind: EventOmission}, {Kind: EventBadAck},
		{Kind: EventAccepted, Epoch: 7, Sample: 3}, {Kind: EventAccepted, Epoch: 7, Sample: 2}, {Kind: EventAccepted, Epoch: 6, Sample: 5},
		{Kind: EventSealed, Epoch: 3, Amount: ionet.MustAmount(40)}, {Kind: EventSealed, Epoch: 4, Amount: ionet.MustAmount(2), Refused: Refusals{proofs.Late: 2, proofs.Equivocation: 1}},
		{Kind: EventSealed, Epoch: 5, Refused: Refusals{proofs.Late: 1}},
	} {
		s.w.emit(e)
	}
	wantValues(t, "after the events", scrape(t, s.w), map[string]float64{
		`samples_refused_total{rule="late"}`: 2, `samples_refused_total{rule="epoch-closed"}`: 1, "samples_skipped_total": 1,
		"omissions_total": 1, "bad_acks_total": 1, "samples_accepted_total": 3, "last_accepted_epoch": 7, "last_accepted_sample": 3,
		"sealed_epoch": 5, "last_earned_base_units": 0, "earned_base_units_total": 42,
		`devices_refused_total{rule="late"}`: 3, `devices_refused_total{rule="equivocation"}`: 1,
	})
}

// A trouble of a device is told once, again when it is another one, and when it is over.
func TestTroublesAreToldOnce(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	well := sampled(t, s.sampler)
	broken := slices.Clone(well)
	broken[1].UptimeDevice, broken[1].Trouble = proofs.UptimeDevice{Status: proofs.DeviceGone}, "GPU is lost"
	other := slices.Clone(broken)
	other[1].Trouble = "the driver does not come back from a call"
	name := well[1].Device.String()
	down := errors.New("driver is away")
	for i, step := range []struct {
		readings []Reading
		err      error
		want     []string
	}{
		{well, nil, nil},
		{broken, nil, []string{name + " is reported as gone: GPU is lost"}},
		{broken, nil, nil},
		{other, nil, []string{name + " is reported as gone: the driver does not come back from a call"}},
		{nil, down, []string{"every device is reported as gone: driver is away"}},
		{nil, down, nil},
		{well[:1], nil, []string{name + " is reported as gone: the driver does not list it any more", "every device answers again"}},
		{well, nil, []string{name + " answers again"}},
		{append(slices.Clone(well), Reading{Index: 2, Trouble: "no handle", UptimeDevice: proofs.UptimeDevice{Status: proofs.DeviceGone}}), nil, []string{"GPU 2 is reported as gone: no handle"}},
		{well, nil, []string{"GPU 2 answers again"}},
	} {
		before := len(s.saw(EventTrouble))
		s.w.mu.Lock()
		s.w.tellTroubles(step.readings, step.err)
		s.w.mu.Unlock()
		var got []string
		for _, e := range s.saw(EventTrouble)[before:] {
			got = append(got, e.Text)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
}

// Another driver version ends the process, which alone can open its library: after the
// sample was kept.
func TestDriverChangeEndsTheRun(t *testing.T) {
	s := newStage(t)
	made, err := NewSimulation(2, 1, handNow)
	must(t, err)
	devices, err := made.Inventory(t.Context())
	must(t, err)
	h := &host{devices: devices, readings: sampled(t, made)}
	s.sampler = h
	s.openWorker()
	s.live(1, 2)
	h.err = fmt.Errorf("count GPUs: %w", ErrDriverChanged)
	if err := s.w.Read(t.Context()); !errors.Is(err, ErrDriverChanged) {
		t.Fatalf("got %v, want ErrDriverChanged", err)
	}
	readings := s.w.spool.readings
	if len(readings) == 0 || readings[len(readings)-1].Sample != 2 || readings[len(readings)-1].Devices[0].Status != proofs.DeviceGone {
		t.Errorf("the sample is not kept: %+v", readings)
	}
}
