"""GET /v1/models: what can be called, with versions and limits."""

from itertools import chain

from litestar import Router, get

from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.auth import may_use
from gateway.catalog import Catalog, ModelCard, Passthrough, Task, Tokenization
from gateway.schemas import ImageSize, ModelInfo, ModelList, TextSize


def model_routes(catalog: Catalog) -> Router:
    @get(
        "/v1/models",
        operation_id="models",
        summary="List the models that you may use",
        tags=["models"],
        responses=failures(),
        sync_to_thread=False,
    )
    def models(request: HttpRequest) -> ModelList:
        caller = context_of(request).caller

        def allowed(name: str) -> bool:
            return may_use(caller, name)

        mine = [card for card in catalog.cards() if allowed(card.name)]
        defaults = {*chain.from_iterable(catalog.defaults(task, allowed)[:1] for task in Task)}
        return ModelList(models=[_info(card, default=card.name in defaults) for card in mine])

    return Router("/", route_handlers=[models])


def _info(card: ModelCard, *, default: bool) -> ModelInfo:
    return ModelInfo(
        name=card.name,
        task=card.task,
        default=default,
        default_version=card.default_version,
        versions=list(card.served.versions),
        labels=list(card.labels),
        input=_size(card),
        max_batch_size=card.batch_limit,
    )


def _size(card: ModelCard) -> ImageSize | TextSize | None:
    encoding = card.encoding
    if isinstance(encoding, Passthrough):
        return None  # the model knows
    if isinstance(encoding, Tokenization):
        return TextSize(max_tokens=encoding.max_tokens)
    return ImageSize(width=encoding.width, height=encoding.height)
