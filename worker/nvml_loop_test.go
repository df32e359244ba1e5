//go:build cgo && linux

package worker

import (
	"runtime"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"

	"github.com/ionet-settlement/ionet/proofs"
)

// A GPU hangs in the driver while the worker is at work: every sample has its statement,
// in which that GPU alone is gone, and a person is told.
func TestHangingGPUStopsNoStatement(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	sampler, err := newNVML(lib)
	must(t, err)
	s := newStage(t)
	s.sampler = sampler
	s.openWorker()
	s.live(1, 2)
	release := make(chan struct{})
	gpus[5].GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		<-release
		return nvml.Utilization{Gpu: 50}, nvml.SUCCESS
	}
	s.live(1, 4)
	close(release)
	for sampler.hangs() { // until the call is back
		runtime.Gosched()
	}
	s.live(2, 4)
	book := s.sealed(1)
	all := s.uptimes(book)
	if len(all) != stageSamples {
		t.Errorf("the book has %d statements, want %d", len(all), stageSamples)
	}
	for sample, u := range all {
		for i, d := range u.Devices {
			want := wellReading(i)
			if i == 5 && (sample == 2 || sample == 3) {
				want = proofs.UptimeDevice{Status: proofs.DeviceGone}
			}
			if d != want {
				t.Errorf("sample %d, GPU %d: got %+v, want %+v", sample, i, d, want)
			}
		}
	}
	var said []string
	for _, e := range s.saw(EventTrouble) {
		said = append(said, e.Text)
	}
	if len(said) != 2 || !strings.HasSuffix(said[0], "is reported as gone: the driver does not come back from a call") || !strings.HasSuffix(said[1], "answers again") ||
		!strings.HasPrefix(said[0], uuidOf(t, gpus[5]).String()) {
		t.Errorf("troubles: %q", said)
	}
}
