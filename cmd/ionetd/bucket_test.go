package main

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// A network whose published files lie in a bucket: genesis and serve write there, the
// service hands them on below /files/, and others read the bucket by plain HTTP.
func TestServeFromBucket(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("published"); err != nil {
		t.Fatal(err)
	}
	bucket := httptest.NewServer(gofakes3.New(backend).Server())
	defer bucket.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	store := "s3://published/one?region=us-east-1&insecure=true&endpoint=" + strings.TrimPrefix(bucket.URL, "http://")

	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	dir := t.TempDir()
	place := []string{"--dir", filepath.Join(dir, "keys"), "--store", store, "--rpc", node.URL()}
	made := append(slices.Concat(place, beneficiaries), "--name", "bucket", "--epoch-seconds", "600", "--pay-lanes", "1", "--claim-lanes", "1", "--airdrop")
	if out, err := runGenesis(t, made...); err != nil {
		t.Fatalf("genesis: %v\n%s", err, out)
	}
	place = append(place, "--database", pgtest.NewURL(t))
	ctx, stop := context.WithCancel(t.Context())
	var out lines
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--checkpoint-every", "20ms"}, place...), &out, io.Discard)
	}()
	url := out.wait(t, "listening ", ended)
	out.wait(t, "fence: ", ended)
	n := networkOf(t, dir)
	for name, base := range map[string]string{"through the service": url + "/files", "from the bucket": bucket.URL + "/published/one"} {
		r, err := publish.Open(base)
		if err != nil {
			t.Fatal(err)
		}
		for {
			note, err := r.Get(t.Context(), publish.CheckpointName)
			if err == nil {
				if c, err := proofs.OpenCheckpoint(n.ID(), n.Keys.Service, note); err != nil || c.Size != 0 {
					t.Errorf("%s the checkpoint is %+v, %v", name, c, err)
				}
				break
			}
			select { // the first checkpoint comes with the first turn
			case <-t.Context().Done():
				t.Fatal(err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		file, err := r.Get(t.Context(), publish.NetworkName(n.ID()))
		if err != nil || !bytes.Contains(file, []byte(`name = 'bucket'`)) {
			t.Errorf("%s the network file is %.60q, %v", name, file, err)
		}
		if _, err := r.Get(t.Context(), "books/none.zst"); err == nil {
			t.Errorf("%s: a book that is not there was read", name)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("ionetd ended: %v", err)
	}
}

func TestBucketMistakes(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	for store, want := range map[string]string{"s3://": "want s3://BUCKET/PREFIX", "s3://bucket?tls=yes": `no parameter "tls"`, "s3://bucket": "AWS_ACCESS_KEY_ID"} {
		if _, err := newStore(t.Context(), store); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--store %s: %v, want %q", store, err, want)
		}
	}
}
