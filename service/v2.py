"""What the service says of itself in the Open Inference Protocol: /v2 and below, but for inference."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from service.errors import UnknownModelError
from service.inference import VERSION, model_metadata
from service.lifecycle import Phase
from service.service import Service

TAG = "open inference protocol"


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str] = Field(examples=[["binary_tensor_data"]])


class TensorMetadata(BaseModel):
    """A tensor; a length of -1 varies."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Failure(BaseModel):
    """Why not."""

    error: str


def v2_routes(service: Service) -> APIRouter:
    """Return the routes for `service`."""
    router = APIRouter(prefix="/v2", tags=[TAG])
    no_model: dict[int | str, dict[str, Any]] = {404: {"model": Failure}}
    not_ready: dict[int | str, dict[str, Any]] = {503: {"model": Failure}}

    @router.get("", responses={})
    async def server() -> ServerMetadata:
        """Name this server."""
        return ServerMetadata(name="fiveways", version=version("fiveways"), extensions=["binary_tensor_data"])

    @router.get("/health/live", response_class=Response, responses=not_ready)
    async def live() -> Response:
        """Whether the process works, as /healthz says."""
        return _yes_or(None if service.healthy else "an engine does not work")

    @router.get("/health/ready", response_class=Response, responses=not_ready)
    async def ready() -> Response:
        """Whether to send requests here, as /readyz says."""
        return _yes_or(_unready(service))

    @router.get("/models/{model}/ready", response_class=Response, responses=no_model | not_ready)
    @router.get(
        "/models/{model}/versions/{version}/ready", response_class=Response, responses=no_model | not_ready
    )
    async def model_ready(model: str, version: str = VERSION) -> Response:
        """Whether to send requests for this model."""
        trouble = _unready(service)
        return failure(503, trouble) if trouble else _unknown(service, model, version) or Response()

    @router.get("/models/{model}", response_model=ModelMetadata, responses=no_model)
    @router.get("/models/{model}/versions/{version}", response_model=ModelMetadata, responses=no_model)
    async def model_tensors(model: str, version: str = VERSION) -> Response:
        """Name a model's tensors."""
        return _unknown(service, model, version) or JSONResponse(model_metadata(model))

    return router


def failure(status: int, why: str) -> JSONResponse:
    """Return a refusal as the protocol has it."""
    return JSONResponse({"error": why}, status)


def _unready(service: Service) -> str | None:
    phase = service.lifecycle.phase
    return None if phase is Phase.READY else f"the service is {phase.value}"


def _yes_or(trouble: str | None) -> Response:
    return failure(503, trouble) if trouble else Response()


def _unknown(service: Service, model: str, version: str) -> Response | None:
    try:
        service.model(model)
    except UnknownModelError as error:
        return failure(404, error.detail)
    return None if version == VERSION else failure(404, f"{model} has version {VERSION} alone")
