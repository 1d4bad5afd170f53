"""Triton as this worker sees it: its client, and the catalog that is read through it."""

import time
from dataclasses import dataclass

from gateway.assembly.part import Part
from gateway.catalog import Catalog
from gateway.settings import Settings
from gateway.translate.tokenizer import Tokenizers
from gateway.upstream import TritonClient


@dataclass(frozen=True)
class FarSide:
    """`tokenizers` are made ready by the catalog, as it finds models for texts."""

    triton: TritonClient
    catalog: Catalog
    tokenizers: Tokenizers
    part: Part


def far_side(settings: Settings) -> FarSide:
    triton = TritonClient(settings.triton_url, clock=time.monotonic)
    tokenizers = Tokenizers(settings.model_repository)
    catalog = Catalog(
        triton, interval=settings.catalog_interval, clock=time.monotonic, prepare=tokenizers.prepare
    )
    return FarSide(triton, catalog, tokenizers, Part(resources=[triton], tasks=[catalog.watch]))
