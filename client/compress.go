package client

import (
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Bodies of statements of this many bytes or more are sent compressed. The window is
// small: the service keeps one for each body that it reads.
const (
	compressFrom = 16 << 10
	zstdWindow   = 256 << 10
)

// compressor compresses bodies until a service, or what stands before it, refuses that.
type compressor struct {
	once    sync.Once
	encoder *zstd.Encoder
	refused atomic.Bool
}

// compress returns the body to send and its Content-Encoding.
func (z *compressor) compress(body []byte) (sent []byte, coding string) {
	if len(body) < compressFrom || z.refused.Load() {
		return body, ""
	}
	z.once.Do(func() {
		z.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
	})
	if small := z.encoder.EncodeAll(body, make([]byte, 0, len(body)/2)); len(small) < len(body) {
		return small, "zstd"
	}
	return body, ""
}
