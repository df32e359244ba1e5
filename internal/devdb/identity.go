package devdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// identity is the user that the server's programs run as.
type identity struct {
	// attr makes the process attributes; nil runs as ourselves.
	attr func() *syscall.SysProcAttr
	// other is set when the server's files must belong to another user than us.
	other    bool
	uid, gid int // of that user
	// shelter is the folder for what that user can't reach where it is.
	shelter string
}

// identityOf chooses: ourselves, unless we are root or nameless (initdb refuses
// both); then a user namespace, in which we have a name; then, as root, nobody.
func identityOf(postgres string) (identity, error) {
	uid := os.Geteuid()
	if _, err := user.LookupId(strconv.Itoa(uid)); err == nil && uid != 0 {
		return identity{}, nil
	}
	nobody, err := named()
	if err != nil {
		return identity{}, err
	}
	in, nsErr := namespaceOf(nobody)
	if nsErr == nil {
		nsErr = in.probe(postgres)
	}
	if nsErr == nil {
		return in, nil
	}
	if uid != 0 {
		return identity{}, fmt.Errorf("user %d has no entry in /etc/passwd and user namespaces are forbidden here: %w (run as a named user)", uid, nsErr)
	}
	return credentialOf(nobody), nil
}

// named finds an unprivileged user that every machine has.
func named() (ids [2]int, err error) {
	for _, name := range []string{"nobody", "daemon", "bin"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if errors.Join(err1, err2) == nil && uid != 0 {
			return [2]int{uid, gid}, nil
		}
	}
	return ids, errors.New("find a user for postgres, which refuses to run as root: no user nobody, daemon or bin (run as an ordinary user)")
}

// credentialOf runs as a real other user; only root may.
func credentialOf(ids [2]int) identity {
	return identity{
		attr: func() *syscall.SysProcAttr {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(ids[0]), Gid: uint32(ids[1])}}
		},
		other: true, uid: ids[0], gid: ids[1], shelter: "/var/tmp",
	}
}

// probe reports whether a program starts at all as this user.
func (id identity) probe(program string) error {
	return id.command(context.Background(), program, "--version").Run()
}

// command prepares a program to run as this user, in a session of its own: a Ctrl-C
// in our terminal is ours to handle.
func (id identity) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if id.attr != nil {
		cmd.SysProcAttr = id.attr()
	}
	cmd.SysProcAttr.Setsid = true
	return cmd
}

// mkdir makes a private folder that belongs to the server.
func (id identity) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil || !id.other {
		return err
	}
	return os.Chown(path, id.uid, id.gid)
}

// writeFile makes a private file that the server can read.
func (id identity) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil || !id.other {
		return err
	}
	return os.Chown(path, id.uid, id.gid)
}

// reaches reports whether the server's user may enter the folder.
func (id identity) reaches(dir string) bool {
	if !id.other {
		return true
	}
	cmd := id.command(context.Background(), "/bin/sh", "-c", `cd "$1"`, "sh", dir)
	return cmd.Run() == nil
}

// reachablePrograms returns bin, or that of a copy that the server's user can reach.
// The copy's name follows from the original's path, which names its version.
func (id identity) reachablePrograms(bin string) (string, error) {
	if id.reaches(bin) {
		return bin, nil
	}
	native := filepath.Dir(bin)
	sum := sha256.Sum256([]byte(native))
	dst := filepath.Join(id.shelter, fmt.Sprintf("ionet-devdb-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:8])))
	if st, err := os.Lstat(dst); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); !ok || !st.IsDir() || int(sys.Uid) != os.Geteuid() {
			return "", fmt.Errorf("copy postgres to %s: somebody else made that (remove it)", dst)
		}
		return filepath.Join(dst, "bin"), nil
	}
	tmp, err := os.MkdirTemp(id.shelter, "ionet-devdb-copy-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := copyTree(tmp, native); err != nil {
		return "", fmt.Errorf("copy postgres to where user %d can run it: %w", id.uid, err)
	}
	// After this rename the copy is complete. Losing the race to another process is
	// as good: its copy is the same.
	if err := os.Rename(tmp, dst); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return filepath.Join(dst, "bin"), nil
}

// copyTree copies folders, files and symbolic links, for everyone to read.
func copyTree(dst, src string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			return os.Chmod(to, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(to, b, 0o755); err != nil {
				return err
			}
			return os.Chmod(to, 0o755)
		}
	})
}

// placeFor returns the folder that holds data: dir, or one that the server's user
// can reach and that the link dir/place names from then on.
func (id identity) placeFor(dir string) (string, error) {
	link := filepath.Join(dir, "place")
	if to, err := os.Readlink(link); err == nil {
		return to, nil
	}
	if id.reaches(dir) {
		return dir, nil
	}
	to, err := os.MkdirTemp(id.shelter, "ionet-devdb-data-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(to, 0o711); err != nil {
		return "", err
	}
	return to, os.Symlink(to, link)
}
