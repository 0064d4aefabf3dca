"""What the service says of itself: /v1/models, /healthz, /readyz, /metrics; and of who asks: /v1/peer."""

from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from service.lifecycle import Phase
from service.served import ServedModel
from service.service import Service


class ModelDescription(BaseModel):
    """A model that is served."""

    name: str = Field(examples=["r9.4.1_fast@v3"])
    default: bool = Field(description="Whether it is what requests get that name no model.")
    sample_rate: float = Field(description="The sample rate of the reads it takes [Hz]; 0 where any will do.")
    chunk_samples: int = Field(description="Samples in a chunk: a shorter read costs as much as one.")
    devices: list[str] = Field(description="Where its engines are.")
    samples_per_second: float = Field(description="How fast its engines work, measured.")


class ModelList(BaseModel):
    """The models that are served, the default first."""

    models: list[ModelDescription]


class Peer(BaseModel):
    """The other end of the connection, as the service's own socket has it; no header is believed."""

    address: str = Field(description="IPv4 as such, whatever the socket; empty for a Unix socket.")
    port: int


class Health(BaseModel):
    """Whether a question is answered with yes, and why not."""

    status: str = Field(examples=["ok", "loading", "draining", "an engine does not work"])


def status_routes(service: Service) -> APIRouter:
    """Return the routes for `service`."""
    router = APIRouter()

    @router.get("/v1/models", tags=["basecalling"])
    async def models() -> ModelList:
        """List the models; none while they are being loaded."""
        return ModelList(models=[_describe(model, service) for model in service.models.values()])

    @router.get("/v1/peer", tags=["operations"])
    async def peer(request: Request) -> Peer:
        """Whom the service sees: not the client where its address was translated (SNAT), or a proxy asks."""
        if request.client is None:
            return Peer(address="", port=0)
        return Peer(address=unmapped(request.client.host), port=request.client.port)

    @router.get("/healthz", tags=["operations"], response_model=Health, responses={503: {"model": Health}})
    async def healthz() -> Response:
        """Whether the process works: its event loop, which answers this, and its engines; never its load."""
        return _health(None if service.healthy else "an engine does not work")

    @router.get("/readyz", tags=["operations"], response_model=Health, responses={503: {"model": Health}})
    async def readyz() -> Response:
        """Whether to send requests here: its models have called a known read, and it does not stop."""
        phase = service.lifecycle.phase
        return _health(None if phase is Phase.READY else phase.value)

    @router.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Return the metrics for Prometheus."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    return router


def unmapped(address: str) -> str:
    """Return an IPv4 address as such where a socket of both families writes it as ::ffff:192.0.2.7."""
    mapped = getattr(ip_address(address), "ipv4_mapped", None)
    return str(mapped or address)


def _health(trouble: str | None) -> Response:
    return JSONResponse({"status": trouble or "ok"}, status_code=503 if trouble else 200)


def _describe(model: ServedModel, service: Service) -> ModelDescription:
    caller = model.caller
    return ModelDescription(
        name=model.name,
        default=model is service.model(""),
        sample_rate=caller.sample_rate,
        chunk_samples=caller.chunk_samples,
        devices=list(model.devices),
        samples_per_second=model.samples_per_s,
    )
