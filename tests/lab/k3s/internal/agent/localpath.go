package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	localPathProvisioner   = "rancher.io/local-path"
	selectedNodeAnnotation = "volume.kubernetes.io/selected-node"
	ownerAnnotation        = "local.path.provisioner/selected-node"
)

// localPath provisions directories of this node as volumes. One runs on every node and minds its own volumes,
// where local-path-provisioner sends a helper pod.
type localPath struct {
	dir  string
	node string
}

func (a *Agent) runLocalStorage(ctx context.Context) error {
	client, err := a.client("k3s-controller")
	if err != nil {
		return err
	}
	p := &localPath{dir: filepath.Join(a.opts.String("data-dir"), "storage"), node: a.node.Name}
	controller.NewProvisionController(ctx, client, localPathProvisioner, p, controller.LeaderElection(false)).Run(ctx)
	return nil
}

func (p *localPath) ShouldProvision(_ context.Context, claim *corev1.PersistentVolumeClaim) bool {
	return claim.Annotations[selectedNodeAnnotation] == p.node
}

func (p *localPath) ShouldDelete(_ context.Context, volume *corev1.PersistentVolume) bool {
	return volume.Annotations[ownerAnnotation] == p.node
}

func (p *localPath) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	claim := o.PVC
	if mode := claim.Spec.VolumeMode; mode != nil && *mode == corev1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, fmt.Errorf("volumeMode: local-path volumes are directories, not block devices")
	}
	path := filepath.Join(p.dir, fmt.Sprintf("%s_%s_%s", o.PVName, claim.Namespace, claim.Name))
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Any user of the pod may write, as with local-path-provisioner; the directory above is root's.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName, Annotations: map[string]string{ownerAnnotation: p.node}},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: path, Type: ptr.To(corev1.HostPathDirectoryOrCreate)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.node},
				}}}},
			}},
		},
	}, controller.ProvisioningFinished, nil
}

func (p *localPath) Delete(_ context.Context, volume *corev1.PersistentVolume) error {
	path := filepath.Clean(volume.Spec.HostPath.Path)
	if filepath.Dir(path) != p.dir {
		return fmt.Errorf("%s is not a directory below %s", path, p.dir)
	}
	return os.RemoveAll(path)
}
