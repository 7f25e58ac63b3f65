// Package pki keeps a cluster's certificate authorities and certificates in files, made once and then kept.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	renewBefore  = 90 * 24 * time.Hour
)

// CA signs the certificates of one purpose.
type CA struct {
	Cert    *x509.Certificate
	CertPEM []byte
	key     crypto.Signer
}

// Request says what a certificate is for.
type Request struct {
	CommonName   string
	Organization []string
	Hosts        []string // makes it a serving certificate
}

// EnsureCA loads NAME.crt and NAME.key from dir, or makes them.
func EnsureCA(dir, name string) (*CA, error) {
	key, err := EnsureKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	certFile := filepath.Join(dir, name+".crt")
	raw, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		template := certificate(Request{CommonName: fmt.Sprintf("k3s-%s@%d", name, time.Now().Unix())}, caLifetime)
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment
		template.ExtKeyUsage = nil
		if raw, err = sign(template, template, key.Public(), key); err == nil {
			err = os.WriteFile(certFile, raw, 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	cert, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return &CA{Cert: cert, CertPEM: raw, key: key}, nil
}

// EnsureKey loads the private key in a file, or makes one.
func EnsureKey(path string) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(raw)
		if block == nil {
			return nil, fmt.Errorf("%s: is not a PEM file", path)
		}
		return x509.ParseECPrivateKey(block.Bytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, encode("EC PRIVATE KEY", der), 0o600)
}

// Ensure keeps dir/NAME.crt and NAME.key unless it nears its end, was signed by another CA or lacks a host.
func (ca *CA) Ensure(dir, name string, r Request) error {
	key, err := EnsureKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return err
	}
	certFile := filepath.Join(dir, name+".crt")
	if raw, err := os.ReadFile(certFile); err == nil && ca.stillGood(raw, r) {
		return nil
	}
	raw, err := ca.Sign(key.Public(), r)
	if err != nil {
		return err
	}
	return os.WriteFile(certFile, raw, 0o644)
}

// Sign returns the certificate for a public key in PEM, and after it, as k3s does, what is in the CA's file: who trusts
// only the CA of before may know this one by a certificate in there.
func (ca *CA) Sign(public crypto.PublicKey, r Request) ([]byte, error) {
	raw, err := sign(certificate(r, leafLifetime), ca.Cert, public, ca.key)
	return append(raw, ca.CertPEM...), err
}

// WithoutChain is the certificate that signs, alone: the controller manager takes no more.
func (ca *CA) WithoutChain() []byte { return encode("CERTIFICATE", ca.Cert.Raw) }

func (ca *CA) stillGood(raw []byte, r Request) bool {
	cert, err := parse(raw)
	if err != nil || cert.CheckSignatureFrom(ca.Cert) != nil || time.Until(cert.NotAfter) < renewBefore {
		return false
	}
	var hosts []string
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	hosts = append(hosts, cert.DNSNames...)
	want := slices.Clone(r.Hosts)
	slices.Sort(hosts)
	slices.Sort(want)
	return cert.Subject.CommonName == r.CommonName && slices.Equal(hosts, slices.Compact(want))
}

// NewRequest makes a certificate signing request; the server, not the request, decides whom the certificate names.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return encode("CERTIFICATE REQUEST", der), err
}

// ParseRequest returns the public key of a signing request, having checked that its sender holds the private one.
func ParseRequest(raw []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("is not a PEM certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return csr.PublicKey, csr.CheckSignature()
}

func certificate(r Request, lifetime time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: r.CommonName, Organization: r.Organization},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	hosts := slices.Clone(r.Hosts)
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	return c
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	return encode("CERTIFICATE", der), err
}

func parse(raw []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("is not a PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	return b.Bytes()
}
