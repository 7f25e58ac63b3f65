"""What the conformance tests need beside the lab: the test program, its runner, and the images of its pods."""

from __future__ import annotations

import re
from pathlib import Path

from ..lab.tenantry_lab import golang, images, rootfs
from ..lab.tenantry_lab.config import BUILT_VERSION, Lab
from ..lab.tenantry_lab.golang import Program
from ..lab.tenantry_lab.process import output

SUITE = Path(__file__).parent / "suite"
KUBERNETES = "k8s.io/kubernetes"
VERSION = golang.version_flags(BUILT_VERSION)

# With cgo, for which the lab's k3s has most of the packages compiled already.
TESTS = Program("e2e.test", SUITE, f"{KUBERNETES}/test/e2e", cgo=True, flags=VERSION, command=("test", "-c"))
GINKGO = Program("ginkgo", SUITE, "github.com/onsi/ginkgo/v2/ginkgo")
AGNHOST = Program("agnhost", SUITE, f"{KUBERNETES}/test/images/agnhost")
NNP = Program("nnp", SUITE, f"{KUBERNETES}/test/images/nonewprivs")

# Where the tests are told to look for images; the lab's mirror has them below docker.io.
REGISTRIES = {"promoterE2eRegistry": "docker.io/e2e", "gcRegistry": "docker.io/e2e"}
PAGES = "/usr/local/apache2/htdocs"
# One root file system for all images: agnhost's and busybox's tools as Debian has them; nginx also in httpd's place.
ROOT = rootfs.RootFileSystem(
    name="conformance-image",
    variant="essential",
    packages=(
        "bash",
        "bind9-dnsutils",
        "bsdextrautils",
        "curl",
        "iproute2",
        "netcat-openbsd",
        "nginx-light",
        "passwd",
        "procps",
        "wget",
    ),
    hooks=(
        'rm -rf "$1"/var/cache/* "$1"/var/lib/apt "$1"/usr/share/zoneinfo',
        # busybox's shell hands on variables that are no shell's, such as data-1; so does bash, and dash does not.
        'ln -sf bash "$1/bin/sh"',
        'ln -s ../sbin/sysctl "$1/bin/sysctl"',  # where busybox has it
        # A member of a group that only the image knows, which one of the tests is about.
        'chroot "$1" useradd --uid 1000 user-defined-in-image',
        'chroot "$1" groupadd --gid 50000 group-defined-in-image',
        'chroot "$1" usermod --append --groups group-defined-in-image user-defined-in-image',
        f'mkdir -p "$1{PAGES}" "$1/uploads"',
        f"echo '<html><body><h1>It works!</h1></body></html>' > \"$1{PAGES}/index.html\"",
        "echo 'daemon off; error_log stderr; events {} http { access_log /dev/stdout;"
        f' server {{ listen 80; root {PAGES}; }} }}\' > "$1/etc/nginx/nginx.conf"',
    ),
)
WEB_SERVER = ["/usr/sbin/nginx"]
PAGE_SERVER = ["test-webserver"]


def build(lab: Lab) -> None:
    """Programs and images, those into the mirror of a lab that is built."""
    go = golang.toolchain(lab)
    root = rootfs.build(lab, ROOT)
    for program in (AGNHOST, NNP, GINKGO, TESTS):
        program.build(lab, go)
    layout = images.Layout(lab.oci)
    for image in _images(lab, root, Path(_module_directory(go)) / "test"):
        layout.add(image)


def _module_directory(go: str) -> str:
    return output([go, "list", "-m", "-f", "{{.Dir}}", KUBERNETES], cwd=SUITE).strip()


def tags(manifest: str) -> dict[str, list[str]]:
    """The tags that the tests ask for, by name of image: `manifest` is their own list, a file of Go."""
    found: dict[str, list[str]] = {}
    for name, tag in re.findall(r'Config\{list\.\w+, "([^"]+)", "([^"]+)"\}', manifest):
        found.setdefault(name, []).append(tag)
    return found


def _images(lab: Lab, root: Path, tests: Path) -> list[images.Image]:
    sources, asked = tests / "images", tags((tests / "utils/image/manifest.go").read_text())
    layers = lab.dir / "conformance" / "layers"
    layers.mkdir(parents=True, exist_ok=True)

    def layer(name: str, files: dict[str, Path], links: dict[str, str] | None = None, mode: int = 0o755) -> Path:
        target = layers / f"{name}.tar"
        # The mirror's file is a link to the last one, which must stay as it is.
        target.unlink(missing_ok=True)
        images.write_layer(target, files, links, mode)
        return target

    def all_of(name: str, above: list[Path], entrypoint: list[str], command: list[str]) -> list[images.Image]:
        names = [f"docker.io/e2e/{name}:{tag}" for tag in asked[name]]
        return [images.Image(one, [root, *above], entrypoint, command) for one in names]

    tls = {f"/localhost.{part}": sources / "agnhost" / "porter" / f"localhost.{part}" for part in ("crt", "key")}
    agnhost = layer("agnhost", {"/agnhost": lab.bin / AGNHOST.name, **tls}, {"/agnhost-2": "agnhost"})
    nnp = layer("nnp", {"/usr/local/bin/nnp": lab.bin / NNP.name}, mode=0o4755)
    pages = {
        name: layer(name, {f"/{file}": sources / name / "html" / file for file in (f"{name}.jpg", "data.json")})
        for name in ("nautilus", "kitten")
    }
    pause, (tag,) = layer("pause", {"/pause": lab.bin / "pause"}), asked["pause"]
    return [
        images.Image(f"docker.io/e2e/pause:{tag}", [pause], ["/pause"]),
        *all_of("agnhost", [agnhost], ["/agnhost"], ["pause"]),
        *all_of("busybox", [], [], ["sh"]),
        *all_of("glibc-dns-testing", [], [], ["sh"]),
        *all_of("nonewprivs", [nnp], [], ["nnp"]),
        *(one for name, above in pages.items() for one in all_of(name, [agnhost, above], ["/agnhost"], PAGE_SERVER)),
        *all_of("nginx", [], [], WEB_SERVER),
    ]
