package localnet

import (
	"bufio"
	"context"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet/internal/nodedeps"
)

//go:embed svm
var svmProject embed.FS

// The operations of svm.mjs, which documents their arguments and answers.
const (
	opRent = iota + 1
	opExecute
	opSimulate
	opSet
	opGet
	opOwned
	opClock
	opSlotHashes
	opAll
)

// maxFrame bounds what the child may answer: far above any list of accounts.
const maxFrame = 1 << 30

// svm is the Node child that holds LiteSVM. Calls are serial; the first failure of
// the pipe ends it for good, because what the child did is unknown from then on.
type svm struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *tailBuffer

	mu   sync.Mutex
	dead error
}

// outcome is what the child says of one transaction. Inner instructions are
// per top-level instruction; byte strings are base64 in the child's JSON.
type outcome struct {
	Err   json.RawMessage      `json:"err"`
	Logs  []string             `json:"logs"`
	Units uint64               `json:"units"`
	Inner [][]innerInstruction `json:"inner"`
	// Returned is the last return data, nil when there is none.
	Returned *struct {
		Program []byte `json:"program"`
		Data    []byte `json:"data"`
	} `json:"returned"`
}

// innerInstruction is one cross-program call; Accounts index the message's keys.
type innerInstruction struct {
	Program  uint8  `json:"program"`
	Accounts []byte `json:"accounts"`
	Data     []byte `json:"data"`
	Height   uint8  `json:"height"`
}

// startSVM installs the child's npm project if need be and starts it. ctx bounds
// the start only.
func startSVM(ctx context.Context) (*svm, error) {
	files, err := fs.Sub(svmProject, "svm")
	if err != nil {
		return nil, err
	}
	dir, err := nodedeps.Ensure(ctx, "localnet", files)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", "--no-warnings", filepath.Join(dir, "svm.mjs"))
	cmd.Dir = dir
	s := &svm{cmd: cmd, stderr: &tailBuffer{max: 4096}}
	cmd.Stderr = s.stderr
	detach(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the virtual machine: %w", err)
	}
	s.stdout = bufio.NewReaderSize(out, 1<<16)
	return s, nil
}

// close ends the child: it exits when its stdin closes, and is killed when it does
// not do so in time.
func (s *svm) close() error {
	s.stdin.Close()
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			return err
		}
		<-done
		return errors.New("stop the virtual machine: it had to be killed")
	}
}

// call sends one request frame and returns the body of the answer.
func (s *svm) call(op byte, args []byte) (*frame, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return nil, s.dead
	}
	body, err := s.exchange(op, args)
	if err != nil {
		s.dead = fmt.Errorf("talk to the virtual machine: %w; it said: %s", err, s.stderr)
		return nil, s.dead
	}
	if len(body) == 0 || body[0] != 0 {
		return nil, fmt.Errorf("virtual machine refused operation %d: %s", op, body[min(1, len(body)):])
	}
	return &frame{b: body[1:]}, nil
}

// task is an operation and its arguments.
type task struct {
	op   byte
	args []byte
}

// all runs tasks one after the other in one exchange, and returns their answers. It
// stops at the first that is refused.
func (s *svm) all(tasks ...task) ([]*frame, error) {
	req := binary.LittleEndian.AppendUint32(nil, uint32(len(tasks)))
	for _, t := range tasks {
		req = binary.LittleEndian.AppendUint32(req, uint32(1+len(t.args)))
		req = append(append(req, t.op), t.args...)
	}
	f, err := s.call(opAll, req)
	if err != nil {
		return nil, err
	}
	answers := make([]*frame, len(tasks))
	for i := range answers {
		answers[i] = &frame{b: f.blob()}
	}
	return answers, f.err
}

func (s *svm) exchange(op byte, args []byte) ([]byte, error) {
	req := make([]byte, 0, 5+len(args))
	req = binary.LittleEndian.AppendUint32(req, uint32(1+len(args)))
	req = append(append(req, op), args...)
	if _, err := s.stdin.Write(req); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(s.stdout, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("answer of %d bytes", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(s.stdout, body)
	return body, err
}

func (s *svm) setRent(lamportsPerByte uint64) error {
	_, err := s.call(opRent, binary.LittleEndian.AppendUint64(nil, lamportsPerByte))
	return err
}

// execute runs a transaction, after the tasks before it, and returns the accounts of
// keys as it left them; nil stands for one that does not exist.
func (s *svm) execute(tx []byte, keys []solana.PublicKey, before []task) (outcome, []*Account, error) {
	var o outcome
	req := appendBlob(nil, tx)
	req = binary.LittleEndian.AppendUint32(req, uint32(len(keys)))
	for _, k := range keys {
		req = append(req, k[:]...)
	}
	answers, err := s.all(append(before, task{opExecute, req})...)
	if err != nil {
		return o, nil, err
	}
	f := answers[len(before)]
	if err := json.Unmarshal(f.blob(), &o); err != nil {
		return o, nil, fmt.Errorf("read outcome: %w", err)
	}
	accounts := make([]*Account, len(keys))
	for i := range accounts {
		accounts[i] = f.account()
	}
	return o, accounts, f.err
}

// simulate runs a transaction without keeping its effects, between the tasks before and
// after it.
func (s *svm) simulate(tx []byte, before, after []task) (outcome, map[solana.PublicKey]*Account, error) {
	var o outcome
	tasks := append(before, task{opSimulate, appendBlob(nil, tx)})
	answers, err := s.all(append(tasks, after...)...)
	if err != nil {
		return o, nil, err
	}
	f := answers[len(before)]
	if err := json.Unmarshal(f.blob(), &o); err != nil {
		return o, nil, fmt.Errorf("read outcome: %w", err)
	}
	post, err := f.accounts()
	return o, post, err
}

// set overwrites accounts; a nil one is removed.
func (s *svm) set(accounts map[solana.PublicKey]*Account) error {
	for _, t := range setting(accounts) {
		if _, err := s.call(t.op, t.args); err != nil {
			return err
		}
	}
	return nil
}

// setting is the task of set, or none when there is nothing to set.
func setting(accounts map[solana.PublicKey]*Account) []task {
	if len(accounts) == 0 {
		return nil
	}
	size := 4
	for _, a := range accounts {
		if size += 32 + 1; a != nil {
			size += 8 + 32 + 1 + 4 + len(a.Data)
		}
	}
	req := binary.LittleEndian.AppendUint32(make([]byte, 0, size), uint32(len(accounts)))
	for k, a := range accounts {
		req = append(req, k[:]...)
		req = appendAccount(req, a)
	}
	return []task{{opSet, req}}
}

// owned returns all accounts of an owner.
func (s *svm) owned(owner solana.PublicKey) (map[solana.PublicKey]*Account, error) {
	f, err := s.call(opOwned, owner[:])
	if err != nil {
		return nil, err
	}
	return f.accounts()
}

func (s *svm) get(key solana.PublicKey) (*Account, error) {
	f, err := s.call(opGet, append(binary.LittleEndian.AppendUint32(nil, 1), key[:]...))
	if err != nil {
		return nil, err
	}
	a := f.account()
	return a, f.err
}

// slotHash is one entry of the slot hashes, which programs use as proof of recency.
type slotHash struct {
	Slot uint64      `json:"slot"`
	Hash solana.Hash `json:"hash"`
}

func slotHashesTask(newestFirst []slotHash) (task, error) {
	b, err := json.Marshal(newestFirst)
	return task{opSlotHashes, appendBlob(nil, b)}, err
}

func appendBlob(dst, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(b))), b...)
}

func appendAccount(dst []byte, a *Account) []byte {
	if a == nil || a.Lamports == 0 {
		return append(dst, 0)
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, 1), a.Lamports)
	dst = append(dst, a.Owner[:]...)
	exec := byte(0)
	if a.Executable {
		exec = 1
	}
	return appendBlob(append(dst, exec), a.Data)
}
