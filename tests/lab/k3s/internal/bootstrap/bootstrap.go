// Package bootstrap is what the servers of a cluster have in common beside the datastore: CAs and keys, as files. As
// k3s does it, whoever joins by the datastore finds them there, encrypted with the token.
package bootstrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Prefix is where in the datastore they are, below it by token.
const Prefix = "/bootstrap"

// names are below the directory of the server.
var names = []string{
	"tls/server-ca.crt", "tls/server-ca.key", "tls/client-ca.crt", "tls/client-ca.key",
	"tls/request-header-ca.crt", "tls/request-header-ca.key", "tls/service.key",
	"cred/encryption-config.yaml",
}

// Files by name.
type Files map[string][]byte

// Read returns those that are there.
func Read(dir string) (Files, error) {
	files := Files{}
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[name] = raw
	}
	return files, nil
}

// Write puts them in place of what is there.
func (f Files) Write(dir string) error {
	for _, name := range names {
		raw, ok := f[name]
		if !ok {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Key says where the files that are encrypted with a token are in the datastore.
func Key(password string) string {
	sum := sha256.Sum256([]byte(password))
	return Prefix + "/" + hex.EncodeToString(sum[:])[:12]
}

// Seal encrypts them with the token.
func (f Files) Seal(password string) ([]byte, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 8)
	_, _ = rand.Read(salt)
	gcm, err := cipherOf(password, salt)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	sealed := gcm.Seal(nonce, nonce, raw, nil)
	return []byte(hex.EncodeToString(salt) + ":" + base64.StdEncoding.EncodeToString(sealed)), nil
}

// Open is the reverse.
func Open(password string, sealed []byte) (Files, error) {
	saltText, text, ok := strings.Cut(string(sealed), ":")
	salt, err := hex.DecodeString(saltText)
	if !ok || err != nil {
		return nil, errors.New("bootstrap data is not of the form it should be")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	gcm, err := cipherOf(password, salt)
	if err != nil {
		return nil, err
	}
	if len(raw) < gcm.NonceSize() {
		return nil, errors.New("bootstrap data is cut off")
	}
	plain, err := gcm.Open(nil, raw[:gcm.NonceSize()], raw[gcm.NonceSize():], nil)
	if err != nil {
		return nil, fmt.Errorf("bootstrap data is encrypted with another token: %w", err)
	}
	files := Files{}
	return files, json.Unmarshal(plain, &files)
}

func cipherOf(password string, salt []byte) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha1.New, password, salt, 4096, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
