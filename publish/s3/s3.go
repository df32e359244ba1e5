// Package s3 is a published store in a bucket of any service that speaks S3's protocol.
//
// Put asks the service to write only where nothing is (If-None-Match), and Replace only
// over what it has read (If-Match), so several processes may use one bucket. A service
// that ignores both still keeps the first bytes of a name, but for two writers in the
// same instant: there Put looks first, and both read back what they wrote.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ionet-settlement/ionet/publish"
)

// Store implements publish.Store.
type Store struct {
	client *minio.Client
	bucket string
	prefix string // "" or one that ends in "/"

	conditional atomic.Bool // the service was seen to keep to If-None-Match
}

var _ publish.Store = (*Store)(nil)

// Scheme begins the locations of buckets.
const Scheme = "s3://"

// defaultEndpoint is that of the service that gave the protocol its name.
const defaultEndpoint = "s3.amazonaws.com"

// Open opens s3://bucket/prefix?endpoint=HOST:PORT&region=REGION&insecure=true; all but
// the bucket may be missing. The keys come from the environment: AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or MINIO_ACCESS_KEY and MINIO_SECRET_KEY.
// A bucket that is not there, or not ours to see, is an error.
func Open(ctx context.Context, location string) (*Store, error) {
	s, err := open(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, location string) (*Store, error) {
	at, err := parse(location)
	if err != nil {
		return nil, err
	}
	keys := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{}})
	if v, err := keys.GetWithContext(nil); err != nil || v.AccessKeyID == "" {
		return nil, errors.New("the environment has no keys for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	lookup := minio.BucketLookupAuto
	if at.endpoint != defaultEndpoint {
		lookup = minio.BucketLookupPath // a name of its own for each bucket is rare elsewhere
	}
	client, err := minio.New(at.endpoint, &minio.Options{
		Creds: keys, Secure: !at.insecure, Region: at.region, BucketLookup: lookup, MaxRetries: 3,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 32, DisableCompression: true,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, IdleConnTimeout: 30 * time.Second,
		},
	})
	if err != nil {
		return nil, err
	}
	there, err := client.BucketExists(ctx, at.bucket)
	if err != nil {
		return nil, fmt.Errorf("look for bucket %s at %s: %w", at.bucket, at.endpoint, err)
	}
	if !there {
		return nil, fmt.Errorf("there is no bucket %s at %s: make it first", at.bucket, at.endpoint)
	}
	return &Store{client: client, bucket: at.bucket, prefix: at.prefix}, nil
}

type place struct {
	bucket, prefix, endpoint, region string
	insecure                         bool
}

func parse(location string) (p place, err error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme+"://" != Scheme || u.Host == "" || u.Fragment != "" {
		return p, errors.New("want s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION")
	}
	if u.User != nil {
		return p, errors.New("keys do not belong into the URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	p = place{bucket: u.Host, endpoint: defaultEndpoint}
	if p.prefix = strings.Trim(u.Path, "/"); p.prefix != "" {
		if err := publish.CheckName(p.prefix); err != nil {
			return p, err
		}
		p.prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return p, errors.New("its query can't be read")
	}
	for name, values := range query {
		switch value := values[len(values)-1]; name {
		case "endpoint":
			p.endpoint = value
		case "region":
			p.region = value
		case "insecure":
			if !slices.Contains([]string{"true", "false"}, value) {
				return p, fmt.Errorf("insecure=%.20s is neither true nor false", value)
			}
			p.insecure = value == "true"
		default:
			return p, fmt.Errorf("it has no parameter %.40q: want endpoint, region or insecure", name)
		}
	}
	return p, nil
}

func (s *Store) key(name string) string { return s.prefix + name }

// String names the bucket and the prefix.
func (s *Store) String() string { return Scheme + s.bucket + "/" + s.prefix }

// Get returns the file of that name, or publish.ErrNotFound.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	data, _, err := s.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (s *Store) get(ctx context.Context, name string) (data []byte, etag string, err error) {
	r, info, err := s.open(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	if info.Size > publish.MaxSize {
		return nil, "", fmt.Errorf("%d bytes are more than %d", info.Size, publish.MaxSize)
	}
	data = make([]byte, info.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, "", fmt.Errorf("read %d bytes: %w", info.Size, err)
	}
	return data, info.ETag, nil
}

// Open returns the file of that name to read from its beginning, and its size.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	r, info, err := s.open(ctx, name)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", name, err)
	}
	return r, info.Size, nil
}

func (s *Store) open(ctx context.Context, name string) (io.ReadCloser, minio.ObjectInfo, error) {
	if err := publish.CheckName(name); err != nil {
		return nil, minio.ObjectInfo{}, err
	}
	r, info, _, err := minio.Core{Client: s.client}.GetObject(ctx, s.bucket, s.key(name), minio.GetObjectOptions{})
	if isNotFound(err) {
		return nil, info, publish.ErrNotFound
	}
	return r, info, err
}

// Has reports whether there is a file of that name.
func (s *Store) Has(ctx context.Context, name string) (bool, error) {
	err := publish.CheckName(name)
	if err == nil {
		_, err = s.client.StatObject(ctx, s.bucket, s.key(name), minio.StatObjectOptions{})
	}
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	return true, nil
}

// Put stores data under name. When it returns nil the service has said that it has it.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := s.put(ctx, name, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, name string, data []byte) error {
	if err := publish.CheckName(name); err != nil {
		return err
	}
	if len(data) > publish.MaxSize {
		return fmt.Errorf("%d bytes are more than %d", len(data), publish.MaxSize)
	}
	if s.conditional.Load() {
		return s.create(ctx, name, data)
	}
	there, err := s.compare(ctx, name, data)
	if there || err != nil {
		return err
	}
	if err := s.create(ctx, name, data); err != nil {
		return err
	}
	if there, err = s.compare(ctx, name, data); err != nil || !there {
		return err
	}
	// The same bytes once more do no harm, and tell whether the service looks.
	if isUnmet(s.write(ctx, name, data, ifNone)) {
		s.conditional.Store(true)
	}
	return nil
}

// create writes where nothing is; what is there must be the same.
func (s *Store) create(ctx context.Context, name string, data []byte) error {
	err := s.write(ctx, name, data, ifNone)
	if !isUnmet(err) {
		return err
	}
	there, err := s.compare(ctx, name, data)
	if err == nil && !there {
		err = errors.New("it was put and removed by others meanwhile")
	}
	return err
}

func ifNone(o *minio.PutObjectOptions) { o.SetMatchETagExcept("*") }

// compare reports whether the name is there; with other bytes that is an error.
func (s *Store) compare(ctx context.Context, name string, data []byte) (bool, error) {
	old, _, err := s.get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) {
		return false, nil
	}
	if err == nil && !bytes.Equal(old, data) {
		err = publish.ErrConflict
	}
	return true, err
}

// write stores data under a condition, or without one where the service knows none.
func (s *Store) write(ctx context.Context, name string, data []byte, condition func(*minio.PutObjectOptions)) error {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", CacheControl: publish.CacheControl(name), DisableMultipart: true, SendContentMd5: true}
	condition(&o)
	_, err := s.client.PutObject(ctx, s.bucket, s.key(name), bytes.NewReader(data), int64(len(data)), o)
	if r := minio.ToErrorResponse(err); err != nil && r.StatusCode == http.StatusNotImplemented {
		o := minio.PutObjectOptions{ContentType: o.ContentType, CacheControl: o.CacheControl, DisableMultipart: true, SendContentMd5: true}
		_, err = s.client.PutObject(ctx, s.bucket, s.key(name), bytes.NewReader(data), int64(len(data)), o)
	}
	return err
}

// Replace stores data under name, where publish.CheckReplace lets it.
func (s *Store) Replace(ctx context.Context, name string, data []byte) error {
	if err := s.replace(ctx, name, data); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func (s *Store) replace(ctx context.Context, name string, data []byte) error {
	if err := publish.CheckName(name); err != nil {
		return err
	}
	checkpoint, etag, err := s.get(ctx, publish.CheckpointName)
	if err != nil && !errors.Is(err, publish.ErrNotFound) {
		return err
	}
	if err := publish.CheckReplace(name, data, checkpoint); err != nil {
		return err
	}
	if name != publish.CheckpointName {
		return s.write(ctx, name, data, func(*minio.PutObjectOptions) {})
	}
	err = s.write(ctx, name, data, func(o *minio.PutObjectOptions) {
		if etag == "" {
			ifNone(o)
		} else {
			o.SetMatchETag(etag)
		}
	})
	if err != nil {
		return err
	}
	// A service that looks at no condition lets two write at once: who was not the last
	// must not believe that its checkpoint is the one that is there.
	there, err := s.compare(ctx, name, data)
	if err == nil && !there {
		err = publish.ErrConflict
	}
	return err
}

// Remove removes the partial tiles of a full one that is there.
func (s *Store) Remove(ctx context.Context, full string) error {
	prefix, err := publish.PartialsOf(full)
	if err != nil {
		return fmt.Errorf("remove partial tiles: %w", err)
	}
	there, err := s.Has(ctx, full)
	if err == nil && !there {
		err = publish.ErrNotFound
	}
	if err == nil {
		err = s.removeBelow(ctx, prefix)
	}
	if err != nil {
		return fmt.Errorf("remove the partial tiles of %s: %w", full, err)
	}
	return nil
}

func (s *Store) removeBelow(ctx context.Context, prefix string) error {
	for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.key(prefix), Recursive: true}) {
		if object.Err != nil {
			return object.Err
		}
		if err := s.client.RemoveObject(ctx, s.bucket, object.Key, minio.RemoveObjectOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func isNotFound(err error) bool {
	if err == nil {
		return false
	}
	code := minio.ToErrorResponse(err).Code
	return code == minio.NoSuchKey || code == "NotFound"
}

// isUnmet reports that the condition of a write did not hold, or that another writer of
// the name was first.
func isUnmet(err error) bool {
	if err == nil {
		return false
	}
	r := minio.ToErrorResponse(err)
	return r.StatusCode == http.StatusPreconditionFailed || r.StatusCode == http.StatusConflict
}
