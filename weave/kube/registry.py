"""Keep the record of the cluster in a ConfigMap, changed by compare-and-swap alone."""

from dataclasses import dataclass

from weave.errors import EnvironmentFailure, RemoteError
from weave.kube.client import Client
from weave.kube.failure import CONFLICT, NOT_FOUND, ApiFailure
from weave.kube.membership import Record, decode, encode
from weave.kube.resource import CONFIG_MAPS, mapping, text, version_of

NAME = "weave-net"
KEY = "cluster"


@dataclass(frozen=True, slots=True)
class Held:
    """A record, and the version by which it can be replaced."""

    record: Record | None
    """None: the ConfigMap is there, but holds no record."""
    version: str
    """Empty: there is no ConfigMap."""


class Registry:
    """The record of one cluster."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def read(self) -> Held:
        """Return the record as the API server has it now."""
        try:
            value = await self._client.get(CONFIG_MAPS.path(self._namespace, NAME))
        except ApiFailure as failure:
            if failure.status == NOT_FOUND:
                return Held(None, "")
            raise
        content = text(mapping(value.get("data")).get(KEY))
        try:
            return Held(decode(content) if content else None, version_of(value))
        except RemoteError as exc:
            raise EnvironmentFailure(f"the ConfigMap {self._namespace}/{NAME} cannot be used: {exc}") from exc

    async def write(self, record: Record, version: str) -> bool:
        """Replace the record of this version; say whether that was done, or somebody was faster."""
        meta: dict[str, object] = {"name": NAME, "namespace": self._namespace}
        if version:
            meta["resourceVersion"] = version
        value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {KEY: encode(record)}}
        try:
            if version:
                await self._client.replace(CONFIG_MAPS.path(self._namespace, NAME), value)
            else:
                await self._client.create(CONFIG_MAPS.path(self._namespace), value)
        except ApiFailure as failure:
            if failure.status == CONFLICT or (failure.status == NOT_FOUND and version):
                return False
            raise
        return True
