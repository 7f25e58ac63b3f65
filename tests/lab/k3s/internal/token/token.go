// Package token is k3s's join token: a password, optionally prefixed by the hash of the cluster's CA and a user.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const prefix = "K10"

// Token is K10<CA hash>::<user>:<password>, or in its short form only the password.
type Token struct {
	CAHash   string
	Username string
	Password string
}

func Parse(s string) (Token, error) {
	rest, long := strings.CutPrefix(s, prefix)
	hash, credentials, separated := strings.Cut(rest, "::")
	if !long || !separated {
		if s == "" {
			return Token{}, fmt.Errorf("token: is empty")
		}
		return Token{Username: "node", Password: s}, nil
	}
	user, password, ok := strings.Cut(credentials, ":")
	if !ok || user == "" || password == "" || len(hash) != sha256.Size*2 {
		return Token{}, fmt.Errorf("token: is not of the form K10<CA hash>::<user>:<password>")
	}
	return Token{CAHash: hash, Username: user, Password: password}, nil
}

// Format renders the long form for the server whose CA certificates are given in PEM.
func Format(caPEM []byte, username, password string) string {
	return prefix + hashOf(caPEM) + "::" + username + ":" + password
}

// VerifyCA refuses a server that is not the one the token was made for. A short token trusts what it is shown.
func (t Token) VerifyCA(caPEM []byte) error {
	if got := hashOf(caPEM); t.CAHash != "" && t.CAHash != got {
		return fmt.Errorf("token: CA hash does not match the server's CA certificate %s...: token and server are of different clusters", got[:12])
	}
	return nil
}

// NewPassword returns 128 random bits, as k3s makes them for a server that was given no token.
func NewPassword() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func hashOf(caPEM []byte) string {
	sum := sha256.Sum256(caPEM)
	return hex.EncodeToString(sum[:])
}
