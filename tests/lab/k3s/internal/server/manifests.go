package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/klog/v2"
)

const (
	manifestPoll = 2 * time.Second
	fieldManager = "deploy@k3s"
)

//go:embed manifests/*.yaml.tmpl
var packaged embed.FS

// deployer applies files, each again only when its content changed or the last attempt failed.
type deployer struct {
	client  dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	applied map[string][sha256.Size]byte
}

func (s *Server) deployManifests(ctx context.Context) {
	client, err := dynamic.NewForConfig(s.admin)
	if err != nil {
		klog.ErrorS(err, "Deploying manifests")
		return
	}
	d := &deployer{
		client:  client,
		mapper:  restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.client.Discovery())),
		applied: map[string][sha256.Size]byte{},
	}
	if err := s.writePackaged(ctx, d); err != nil {
		klog.ErrorS(err, "Writing packaged manifests")
	}
	ticker := time.NewTicker(manifestPoll)
	defer ticker.Stop()
	for {
		d.deployDir(ctx, s.path("manifests"))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// writePackaged puts k3s's own components beside the administrator's files, and removes a disabled one with
// everything that was deployed from it.
func (s *Server) writePackaged(ctx context.Context, d *deployer) error {
	entries, err := packaged.ReadDir("manifests")
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := s.path("manifests", strings.TrimSuffix(e.Name(), ".tmpl"))
		if s.opts.Disabled(strings.TrimSuffix(e.Name(), ".yaml.tmpl")) {
			if err := d.remove(ctx, file); err != nil {
				return err
			}
			continue
		}
		t, err := template.ParseFS(packaged, "manifests/"+e.Name())
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, s.clusterConfig()); err != nil {
			return err
		}
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployer) deployDir(ctx context.Context, dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.y*ml"))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // removed since it was listed
		}
		if _, err := os.Stat(file + ".skip"); err == nil {
			continue
		}
		sum := sha256.Sum256(raw)
		if d.applied[file] == sum {
			continue
		}
		if err := d.apply(ctx, raw); err != nil {
			if ctx.Err() == nil {
				klog.ErrorS(err, "Deploying manifest, will try again", "file", file)
			}
			continue
		}
		d.applied[file] = sum
		klog.InfoS("Deployed manifest", "file", file)
	}
}

func (d *deployer) apply(ctx context.Context, raw []byte) error {
	return d.each(raw, func(r dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		_, err := r.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		return err
	})
}

func (d *deployer) remove(ctx context.Context, file string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = d.each(raw, func(r dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		err := r.Delete(ctx, obj.GetName(), metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.Remove(file)
}

func (d *deployer) each(raw []byte, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if err := decoder.Decode(&obj.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(obj.Object) == 0 {
			continue
		}
		resource, err := d.resource(obj)
		if err == nil {
			err = do(resource, obj)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
	}
}

func (d *deployer) resource(obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := obj.GroupVersionKind()
	mapping, err := d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		d.mapper.Reset() // the kind may have been defined since
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return d.client.Resource(mapping.Resource), nil
	}
	namespace := obj.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return d.client.Resource(mapping.Resource).Namespace(namespace), nil
}
