"""What people may choose of a run on a cluster; frozen, and kept with its results."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where and with what a run is set up."""

    overlay: str
    """A way of k8s/overlays, or a folder."""
    context: str | None = None
    """Of the kubeconfig; its current one where None."""
    namespace: str = "fiveways-bench"
    """Of the way's pods; those on the host's network are in another, whose name ends with `-host`."""
    server_node: str | None = None
    client_node: str | None = None
    workers: int = 2
    """Of locust, at each attachment."""
    service_image: str = ""
    """References; those of the overlays where empty."""
    loadgen_image: str = ""
    components: tuple[str, ...] = ()
    """Of k8s/components, added to both overlays."""
    wait_s: float = 600.0
    """How long pods may take until they are ready."""
    patience_s: float = 60.0
    """How long the API server may be away."""
    keep: bool = False
    """Leave everything in the cluster."""

    @property
    def host_namespace(self) -> str:
        """Where pods on the host's network are."""
        return f"{self.namespace}-host"

    @property
    def images(self) -> dict[str, str]:
        """References by what overlays call the images."""
        chosen = {"fiveways-service": self.service_image, "fiveways-loadgen": self.loadgen_image}
        return {name: reference for name, reference in chosen.items() if reference}
