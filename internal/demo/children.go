package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// stopPatience is how long a child may take to drain after SIGTERM; the
// service promises 5 s.
const stopPatience = 6 * time.Second

// A child is one real binary of the house, started as any operator would start
// it. It has a process group of its own, so that Ctrl-C reaches the demo alone
// and the demo stops its children in order.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced at every line
}

// start runs the binary and shows each line of its output behind its name.
func start(show io.Writer, logs io.Writer, name, binary string, args ...string) (*child, error) {
	c := &child{name: name, done: make(chan struct{}), more: make(chan struct{})}
	c.cmd = exec.Command(binary, args...)
	c.cmd.SysProcAttr = ownGroup()
	c.cmd.Stderr = logs
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe %s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go c.watch(out, show)
	return c, nil
}

func (c *child) watch(out io.Reader, show io.Writer) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintf(show, "%s  %-9s %s\n", time.Now().Format("15:04:05"), c.name, lines.Text())
		c.mu.Lock()
		c.lines = append(c.lines, lines.Text())
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
	}
	c.err = c.cmd.Wait()
	close(c.done)
}

// line waits for a line that has the prefix and returns what follows it.
func (c *child) line(ctx context.Context, prefix string) (string, error) {
	for seen := 0; ; {
		c.mu.Lock()
		lines, more := c.lines[seen:], c.more
		c.mu.Unlock()
		for _, l := range lines {
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				return strings.TrimSpace(rest), nil
			}
		}
		seen += len(lines)
		select {
		case <-more:
		case <-c.done:
			return "", fmt.Errorf("%s ended before it said %q: %v", c.name, prefix, c.err)
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %s to say %q: %w", c.name, prefix, ctx.Err())
		}
	}
}

// said returns the lines so far.
func (c *child) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// running reports whether the process has not ended.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop asks the process to end and ends it after stopPatience.
func (c *child) stop() error {
	if !c.running() {
		return nil
	}
	if err := interrupt(c.cmd.Process); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(stopPatience):
		c.kill()
		return fmt.Errorf("%s did not stop within %s and was killed", c.name, stopPatience)
	}
}

// kill ends the process at whatever line it is: kill -9.
func (c *child) kill() {
	if c.running() {
		_ = c.cmd.Process.Signal(os.Kill)
		<-c.done
	}
}

// run runs a command to its end, showing its output, and returns its exit status.
func run(ctx context.Context, show io.Writer, logs io.Writer, name, binary string, args ...string) (int, string, error) {
	c, err := start(show, logs, name, binary, args...)
	if err != nil {
		return -1, "", err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return -1, "", ctxErr(ctx, c)
	}
	return c.cmd.ProcessState.ExitCode(), strings.Join(c.lines, "\n"), nil
}

func ctxErr(ctx context.Context, c *child) error {
	if err := c.stop(); err != nil {
		return err
	}
	return fmt.Errorf("%s was stopped: %w", c.name, context.Cause(ctx))
}

// A lineWriter serialises the lines of several children.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// turn sends all further lines to w.
func (l *lineWriter) turn(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = w
}

func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
