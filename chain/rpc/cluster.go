package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// ClusterError reports an endpoint of another cluster than Config.Cluster.
type ClusterError struct {
	Host          string
	Cluster, Want ionet.Key // genesis hashes
}

func (e *ClusterError) Error() string {
	return fmt.Sprintf("%s is of cluster %s, not %s", e.Host, e.Cluster, e.Want)
}

// CheckCluster returns a *ClusterError where an endpoint is of another cluster than
// Config.Cluster, and another error where none answers. One that is away meanwhile is
// asked before its first answer is believed, so that it holds up nobody's start.
func (c *Client) CheckCluster(ctx context.Context) error {
	errs := make([]error, len(c.endpoints))
	done := make(chan struct{})
	for i, e := range c.endpoints {
		go func() {
			errs[i] = c.know(ctx, e)
			done <- struct{}{}
		}()
	}
	for range c.endpoints {
		<-done
	}
	answered := false
	for _, err := range errs {
		var other *ClusterError
		if errors.As(err, &other) {
			return err
		}
		answered = answered || err == nil
	}
	if answered {
		return nil
	}
	return errors.Join(errs...)
}

// know asks an endpoint of which cluster it is, until it has told once.
func (c *Client) know(ctx context.Context, e *endpoint) error {
	if c.cfg.Cluster.IsZero() || e.known.Load() {
		return nil
	}
	var hash ionet.Key
	if err := c.ask(ctx, e, &hash, "getGenesisHash"); err != nil {
		return err
	}
	if hash != c.cfg.Cluster {
		return &ClusterError{e.host, hash, c.cfg.Cluster}
	}
	e.known.Store(true)
	return nil
}
