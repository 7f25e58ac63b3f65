package token

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	ca := []byte("certificate of this cluster")
	got, err := Parse(Format(ca, "server", "pass:word"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Username != "server" || got.Password != "pass:word" {
		t.Errorf("got %+v", got)
	}
	if err := got.VerifyCA(ca); err != nil {
		t.Error(err)
	}
	if err := got.VerifyCA([]byte("another cluster's")); err == nil {
		t.Error("the token of one cluster must refuse the CA of another")
	}
}

func TestShortToken(t *testing.T) {
	for _, text := range []string{"secret", "K10-is-a-fine-password"} {
		got, err := Parse(text)
		if err != nil || got != (Token{Username: "node", Password: text}) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if err := got.VerifyCA([]byte("any")); err != nil {
			t.Errorf("a short token names no CA: %v", err)
		}
	}
}

func TestMalformed(t *testing.T) {
	hash := strings.Repeat("a", 64)
	for _, text := range []string{"", "K10abc::server:secret", "K10" + hash + "::server", "K10" + hash + "::server:", "K10" + hash + ":::x"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}
