package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ionet-settlement/ionet"
)

// How long a websocket may be silent, how often it is pinged, and how long to wait
// before the next one is tried: doubled with each that fails.
const (
	silence        = 45 * time.Second
	pingEvery      = 15 * time.Second
	firstReconnect = time.Second
	lastReconnect  = 30 * time.Second
)

// Watch returns a channel that gets a value soon after one of the accounts changed at
// finalized, as far as a websocket tells. It is a hint: notices may be lost, doubled or
// late, and several become one, so whoever waits must look at the accounts now and then
// anyway, and look at them at each value. Lost connections are made again, with the next
// endpoint. The channel is closed when ctx ends.
func (c *Client) Watch(ctx context.Context, accounts []ionet.Key) <-chan struct{} {
	hints := make(chan struct{}, 1)
	go func() {
		defer close(hints)
		urls := c.cfg.Watch
		if urls == nil {
			for _, e := range c.endpoints {
				urls = append(urls, watchURL(e.url))
			}
		}
		pause := firstReconnect
		for i := 0; ; i++ {
			heard, _ := watchOnce(ctx, urls[i%len(urls)], accounts, hints) // whatever ended it, the next one is tried
			if heard {
				pause = firstReconnect
			}
			if sleep(ctx, pause) != nil {
				return
			}
			pause = min(2*pause, lastReconnect)
		}
	}()
	return hints
}

// watchURL is where a node serves websockets whose RPC is at endpoint: at the same
// place by https, at the next port where the port is named, as validators do.
func watchURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "" // New has parsed it before
	}
	if u.Scheme == "https" {
		u.Scheme = "wss"
		return u.String()
	}
	u.Scheme = "ws"
	if port, err := strconv.Atoi(u.Port()); err == nil {
		u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port+1))
	}
	return u.String()
}

// watchOnce subscribes at one websocket and passes hints on until it ends; heard tells
// that it worked for a time.
func watchOnce(ctx context.Context, url string, accounts []ionet.Key, hints chan<- struct{}) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		return false, errors.New("watch: connect") // the error would name the URL, with its key
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadLimit(1 << 20)
	for i, account := range accounts {
		err := conn.WriteJSON(request{"2.0", i + 1, "accountSubscribe", []any{account, options{Commitment: Finalized, Encoding: "base64"}}})
		if err != nil {
			return false, fmt.Errorf("watch: subscribe: %w", err)
		}
	}
	go keepAlive(ctx, conn)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(silence)) }
	conn.SetPongHandler(alive)
	for {
		if err := alive(""); err != nil {
			return heard, err
		}
		_, data, err := conn.ReadMessage()
		if err != nil {
			return heard, fmt.Errorf("watch: %w", err)
		}
		var notice struct {
			Method string `json:"method"`
		}
		if json.Unmarshal(data, &notice) != nil || notice.Method != "accountNotification" {
			continue
		}
		heard = true
		select {
		case hints <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// keepAlive pings until ctx ends; what fails here fails in reading too.
func keepAlive(ctx context.Context, conn *websocket.Conn) {
	for sleep(ctx, pingEvery) == nil {
		if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(5*time.Second)) != nil {
			return
		}
	}
}
