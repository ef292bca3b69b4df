"""What is read out of Kubernetes' sources, on pieces in their form."""

from __future__ import annotations

import orjson

from edgekube.containerd.oci import Run, assemble, digest_of, layer
from tests.conformance.building import requirements
from tests.conformance.images import names
from tests.conformance.registries import fake_registry
from tests.conformance.sidecars import references

GO_MOD = """module k8s.io/kubernetes

go 1.26.0

require (
	github.com/a/b v1.2.3
	k8s.io/api v0.0.0
	k8s.io/apimachinery v0.0.0 // indirect
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/apimachinery => ./staging/src/k8s.io/apimachinery
)
"""


def test_staging_modules_are_taken_as_published() -> None:
    made = requirements(GO_MOD, "1.36.2")
    assert "\tk8s.io/kubernetes v1.36.2\n" in made and "\tgithub.com/a/b v1.2.3\n" in made
    assert "\tk8s.io/api v0.36.2\n" in made and "\tk8s.io/apimachinery v0.36.2 // indirect\n" in made
    assert "\tk8s.io/api => k8s.io/api v0.36.2\n" in made and "./staging" not in made
    assert "\tc.d/e v1.0.0\n" in requirements(GO_MOD, "1.36.2", {"c.d/e": "v1.0.0"})


def test_the_images_around_a_driver_are_those_of_the_manifests() -> None:
    manifests = """
          image: registry.k8s.io/sig-storage/csi-attacher:v4.11.0
          image: registry.k8s.io/sig-storage/hostpathplugin:v1.17.1
          image: registry.k8s.io/sig-storage/csi-snapshot-metadata:v0.2.0
"""
    assert references(manifests) == {
        "registry.k8s.io/sig-storage/csi-attacher:v4.11.0": "csi-attacher",
        "registry.k8s.io/sig-storage/hostpathplugin:v1.17.1": "driver",
    }


def test_the_suites_names_of_images() -> None:
    manifest = """
	configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.63.0"}
	configs[Pause] = Config{list.GcRegistry, "pause", "3.10.2"}
	configs[Invalid] = Config{list.InvalidRegistry, "alpine", "3.1"}
"""
    assert names(manifest) == {
        "Agnhost": "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
        "Pause": "registry.k8s.io/pause:3.10.2",
    }


def test_the_fake_registrys_files_lead_from_the_tag_to_the_image() -> None:
    image = assemble([layer([])], Run(command=["x"]))
    files = {entry.path: entry.data for entry in fake_registry("box", "1", image)}

    def kept(base: str, digest: str) -> bytes:
        sha = digest.removeprefix("sha256:")
        return files[f"var/registry/box/{base}/sha256/{sha[:2]}/{sha}/data"]

    index = orjson.loads(kept("manifests", files["var/registry/box/manifests/1"].decode()))
    manifest = kept("manifests", index["manifests"][0]["digest"])
    assert digest_of(manifest) == image.manifest
    for part in (orjson.loads(manifest)["config"], *orjson.loads(manifest)["layers"]):
        assert digest_of(kept("blobs", part["digest"])) == part["digest"]
