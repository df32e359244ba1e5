package client

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
)

// ReadHeader carries a signed request for reading what is a renter's own:
// <key base58>.<Unix seconds>.<signature base64url>. It holds for ReadWindow.
const ReadHeader = "Ionet-Read"

// ReadWindow is how far the time of a signed request may be from the service's.
const ReadWindow = 5 * time.Minute

// signRead returns the value of ReadHeader for a request of path with its query:
//
//	signature over "io-settlement/v1/read\n" ‖ network [32] ‖ time i64 ‖ method ‖ " " ‖ path   FORMAT.md, section 3
func signRead(key ed25519.PrivateKey, network ionet.Hash, method, path string) (string, error) {
	if len(key) != ed25519.PrivateKeySize {
		return "", errors.New("sign request: the reader's key is missing")
	}
	now := time.Now().Unix()
	b := append([]byte("io-settlement/v1/read\n"), network[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(now))
	b = append(b, method+" "+path...)
	signer := ionet.Key(key.Public().(ed25519.PublicKey))
	return fmt.Sprintf("%s.%d.%s", signer, now, base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, b))), nil
}
