// Package openaiclient makes calls with the official OpenAI client of npm, for tests
// and the demo: what works with it works with any program that speaks to OpenAI.
package openaiclient

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet/internal/nodedeps"
)

//go:embed npm/package.json npm/package-lock.json npm/calls.mjs
var project embed.FS

// Call is one call of the client. Name is chat, completion, embedding, image or models;
// Params are the client's own, with "stream" for a stream.
type Call struct {
	Name    string            `json:"call"`
	Params  map[string]any    `json:"params,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Usage is what an answer says was used.
type Usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// Answer is what the client made of an answer, or of an error.
type Answer struct {
	Call    string
	OK      bool
	Status  int
	Headers map[string]string // those that begin with ionet-, in lower case
	Text    string            // of the first choice, or of all chunks
	Finish  string
	Chunks  int // of a stream
	Usage   *Usage

	Items      int      // of a list: vectors, pictures or models
	Models     []string // their names
	Dimensions int      // of a vector
	Bytes      []int    // of pictures

	Class, Message, Type, Param string // of an error, as the client has it
	Code                        any
}

// A Client is a Node child that makes calls, one after the other. It is not safe for
// concurrent use; several may run side by side.
type Client struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said bytes.Buffer // diagnostics
}

// Start starts a client of the API at base, such as http://127.0.0.1:8765/v1. The first
// start of a user installs the npm project.
func Start(ctx context.Context, base string) (*Client, error) {
	files, err := fs.Sub(project, "npm")
	if err != nil {
		return nil, fmt.Errorf("open npm project: %w", err)
	}
	dir, err := nodedeps.Ensure(ctx, "openaiclient", files)
	if err != nil {
		return nil, err
	}
	c := &Client{cmd: exec.CommandContext(ctx, "node", filepath.Join(dir, "calls.mjs"), base)}
	c.cmd.Stderr = &c.said
	c.cmd.WaitDelay = time.Second
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe node: %w", err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("pipe node: %w", err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	return c, nil
}

// Do makes one call. What the API refuses is an Answer that is not OK.
func (c *Client) Do(call Call) (a Answer, err error) {
	line, err := json.Marshal(call)
	if err != nil {
		return a, fmt.Errorf("call %s: %w", call.Name, err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return a, fmt.Errorf("call %s: %w: %s", call.Name, err, &c.said)
	}
	line, err = c.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("call %s: %w", call.Name, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("call %s: read its answer: %w", call.Name, err)
	}
	return a, nil
}

// Close ends the child.
func (c *Client) Close() error {
	_ = c.in.Close() // it ends with its input
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("stop node: %w: %s", err, &c.said)
	}
	return nil
}
