package rpc

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
)

// clusterNode answers every call with its genesis hash, and 502 while it is away.
type clusterNode struct {
	hash  ionet.Key
	away  atomic.Bool
	calls atomic.Int32
	*httptest.Server
}

func newClusterNode(t *testing.T, hash ionet.Key) *clusterNode {
	n := &clusterNode{hash: hash}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.calls.Add(1)
		if n.away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%q}`, n.hash)
	}))
	t.Cleanup(n.Close)
	return n
}

// One endpoint that is away holds up no start; when it is back it is believed only if
// it is of the cluster.
func TestCheckCluster(t *testing.T) {
	ours, foreign := ionet.Key{1}, ionet.Key{2}
	for _, tt := range []struct {
		name         string
		first, other ionet.Key
		away         bool
		wantStart    error
		wantLater    error // of a call to the second endpoint once it is back
	}{
		{"both are ours", ours, ours, false, nil, nil},
		{"one is foreign", ours, foreign, false, &ClusterError{}, &ClusterError{}},
		{"one is away", ours, ours, true, nil, nil},
		{"one is away and foreign", ours, foreign, true, nil, &ClusterError{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newClusterNode(t, tt.first), newClusterNode(t, tt.other)
			b.away.Store(tt.away)
			c, err := New(Config{Endpoints: []string{a.URL, b.URL}, Cluster: ours, Pause: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			wantCluster(t, "CheckCluster", c.CheckCluster(t.Context()), tt.wantStart)
			b.away.Store(false)
			var got ionet.Key
			wantCluster(t, "a call", c.call(t.Context(), c.endpoints[1], &got, "getGenesisHash"), tt.wantLater)
			if !got.IsZero() && tt.wantLater != nil {
				t.Errorf("the foreign endpoint was believed: %s", got)
			}
		})
	}
}

func wantCluster(t *testing.T, what string, got, want error) {
	t.Helper()
	var other *ClusterError
	if want == nil && got != nil || want != nil && !errors.As(got, &other) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestCheckClusterWhereNoneAnswers(t *testing.T) {
	n := newClusterNode(t, ionet.Key{1})
	n.away.Store(true)
	c, err := New(Config{Endpoints: []string{n.URL}, Cluster: ionet.Key{1}, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if c.CheckCluster(t.Context()) == nil {
		t.Error("nobody answered, and the cluster is taken for ours")
	}
}

// What is known is not asked again.
func TestClusterIsAskedOnce(t *testing.T) {
	n := newClusterNode(t, ionet.Key{1})
	c, err := New(Config{Endpoints: []string{n.URL}, Cluster: ionet.Key{1}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.GenesisHash(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.calls.Load(); got != 4 {
		t.Errorf("the endpoint was called %d times, want 4", got)
	}
}
