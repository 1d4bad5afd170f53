"""GET /v1/models: what can be called, with versions and limits."""

from litestar import Router, get

from gateway.catalog import Catalog, ModelCard
from gateway.schemas import ImageSize, ModelInfo, ModelList


def model_routes(catalog: Catalog) -> Router:
    @get(
        "/v1/models", operation_id="models", summary="List the models", tags=["models"], sync_to_thread=False
    )
    def models() -> ModelList:
        return ModelList(models=[_info(card) for card in catalog.cards()])

    return Router("/", route_handlers=[models])


def _info(card: ModelCard) -> ModelInfo:
    return ModelInfo(
        name=card.name,
        task=card.task,
        default=card.parameters.default,
        default_version=card.default_version,
        versions=list(card.served.versions),
        labels=list(card.labels),
        input=ImageSize(width=card.preprocessing.width, height=card.preprocessing.height),
        max_batch_size=card.batch_limit,
    )
