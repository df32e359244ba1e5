package main

import "io"

// meteredBody ends a call when its answer is read or given up.
type meteredBody struct {
	io.ReadCloser
	done func()
}

func (b *meteredBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
