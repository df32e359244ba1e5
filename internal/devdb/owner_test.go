package devdb

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// ownerEnv makes this test program a process that owns a server in the folder named.
const ownerEnv = "IONET_DEVDB_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		db, err := Start(context.Background(), Config{Dir: dir, NoFsync: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(db.URL())
		select {}
	}
	os.Exit(m.Run())
}

// The owner is killed, so it can do nothing about its server; and its server must
// end all the same, leaving a folder that the next owner can use.
func TestEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(exe)
	owner.Env = append(os.Environ(), ownerEnv+"="+dir)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("owner said %q, then %v", line, err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil || u.Scheme != "postgres" {
		t.Fatalf("owner said %q", line)
	}
	run(t, u.String(), `CREATE TABLE kept (n int)`)

	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait()
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, port)

	db := launchTest(t, dir) // waits for the old server's shutdown
	if got := query[int](t, db.URL(), `SELECT count(*) FROM kept`); got != 0 {
		t.Errorf("got %d rows, want none", got)
	}
}
