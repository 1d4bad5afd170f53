"""BERT base as ONNX, with the tokenizer that cuts texts as it was trained to see them."""

from __future__ import annotations

import shutil

from architectures import BERT, BERT_WEIGHTS
from onnx_file import REPOSITORY
from served import export, weights_of
from transformers import AutoTokenizer


def write_tokenizer(*, pretrained: bool) -> None:
    """The one of the weights; random weights know no language, and any vocabulary that is small enough will do."""
    target = REPOSITORY / BERT.model / "tokenizer.json"
    if pretrained:
        AutoTokenizer.from_pretrained(BERT_WEIGHTS).backend_tokenizer.save(str(target))
    else:
        shutil.copy(REPOSITORY / "languages_bert" / "tokenizer.json", target)


if __name__ == "__main__":
    pretrained = weights_of(__doc__)
    write_tokenizer(pretrained=pretrained)
    export(BERT, pretrained=pretrained)
