"""Trains languages_bert, versions 1 and 2, and writes them and their tokenizer into the model repository."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_file
import torch
from languages import LABELS, Split, Text, names, training_texts
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import nn
from transformers import BertConfig, BertModel

SEED = 20
MODEL = "languages_bert"
FOLDER = onnx_file.REPOSITORY / MODEL
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LARGEST_FILE = 8_000_000
LONGEST = 64  # tokens of a text, [CLS] and [SEP] included
VOCABULARY = 6000
ALPHABET = 500
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
BATCH = 128
DROPOUT = 0.1
PASSED_OVER = 0.3  # of the longest pieces in training
NAMES_IN_A_TEXT = (1, 1, 1, 1, 1, 1, 1, 2, 3, 8)  # one of these for each batch
KEPT_OUT: tuple[Split, ...] = ("validation", "held_out")


@dataclass(frozen=True)
class Recipe:
    """One version: the network's width and layers, the training's steps and best learning rate."""

    hidden: int
    layers: int
    steps: int
    learning_rate: float


RECIPES = {1: Recipe(64, 1, 250, 5e-3), 2: Recipe(128, 2, 1500, 3e-3)}


class Classifier(nn.Module):
    """Token ids, mask and types, INT64 [batch, tokens], to logits FP32 [batch, classes]."""

    def __init__(self, recipe: Recipe, vocabulary: int) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.hidden // 32,
            intermediate_size=4 * recipe.hidden,
            max_position_embeddings=LONGEST,
            hidden_dropout_prob=DROPOUT,
            attention_probs_dropout_prob=DROPOUT,
            initializer_range=0.1,
            attn_implementation="eager",
        )
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(recipe.hidden, len(LABELS)))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        tokens = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        # The mean over the tokens learns from few texts far sooner than the first token alone does.
        weights = attention_mask.unsqueeze(2).to(tokens.dtype)
        logits: torch.Tensor = self.head((tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1))
        return logits


def train_tokenizer() -> Tokenizer:
    """Pieces of words, learned from the training texts alone."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    # Accents tell languages apart, capitals at the start of a name do not.
    tokenizer.normalizer = BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=VOCABULARY, limit_alphabet=ALPHABET, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator((text for texts in training_texts(KEPT_OUT) for text in texts), trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


class Drawer:
    """Draws batches for training. Words are cut anew each time, into shorter pieces than the tokenizer would choose
    (MaxMatch-Dropout): so the pieces of words never seen are known too."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._random = random.Random(seed)
        self._vocabulary = tokenizer.get_vocab()
        self._words = [[_words(tokenizer, text) for text in texts] for texts in training_texts(KEPT_OUT)]

    def draw(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """A batch of texts of as many names each, from all languages alike, and their labels."""
        labels = self._random.choices(range(len(LABELS)), k=BATCH)
        count = self._random.choice(NAMES_IN_A_TEXT)
        return padded([self._text(label, count) for label in labels]), torch.tensor(labels)

    def _text(self, label: int, count: int) -> list[int]:
        separator = self._random.choice(([","], []))
        words: list[str] = []
        for name in self._random.choices(self._words[label], k=count):
            words += [*separator, *name] if words else name
        ids = [piece for word in words for piece in self._pieces(word)]
        return [self._vocabulary["[CLS]"], *ids[: LONGEST - 2], self._vocabulary["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that the vocabulary has, over and over, each time passed over by chance."""
        ids, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                found = self._vocabulary.get("##" * (start > 0) + word[start:end])
                if found is not None and (end == start + 1 or self._random.random() >= PASSED_OVER):
                    break
            if found is None:
                return [self._vocabulary["[UNK]"]]
            ids.append(found)
            start = end
        return ids


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [
        word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    ]


def padded(texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Ids, mask and types, INT64 [batch, tokens], of texts that are cut into pieces."""
    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return [ids, mask, torch.zeros_like(ids)]


def train(recipe: Recipe, tokenizer: Tokenizer) -> Classifier:
    torch.manual_seed(SEED)
    drawer = Drawer(tokenizer, SEED)
    network = Classifier(recipe, tokenizer.get_vocab_size()).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(recipe.steps):
        inputs, labels = drawer.draw()
        optimizer.zero_grad()
        loss_of(network(*inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return network


def accuracy(network: Classifier, tokenizer: Tokenizer, texts: Sequence[Text]) -> float:
    """Share of `texts` whose best class is a language that writes them so."""
    network.eval()
    right = 0
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        encodings = tokenizer.encode_batch([text.text for text in batch])
        with torch.inference_mode():
            best = network(*padded([e.ids for e in encodings])).argmax(dim=1)
        right += sum(int(found) in text.right for found, text in zip(best, batch, strict=True))
    return right / len(texts)


def write(network: Classifier, tokenizer: Tokenizer, version: int) -> Path:
    """Export with a dynamic batch of texts of any length, checked with real texts."""
    batches = [[text.text for text in names("train")[start::97]] for start in range(3)]
    examples = [
        dict(zip(INPUTS, padded([found.ids for found in tokenizer.encode_batch(batch)]), strict=True))
        for batch in (batches[0], batches[1][:1], batches[2][:16])
    ]
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS} | {"logits": {0: "batch"}}
    return onnx_file.write_any(network, examples, "logits", axes, FOLDER / str(version), LARGEST_FILE)


def main() -> None:
    """Train the tokenizer and the chosen versions, and write their files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--version", type=int, choices=RECIPES, action="append", help="default: every version"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = train_tokenizer()
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    for version in arguments.version or RECIPES:
        started = time.monotonic()
        network = train(RECIPES[version], tokenizer)
        score = accuracy(network, tokenizer, names("validation"))
        path = write(network, tokenizer, version)
        seconds = time.monotonic() - started
        size = path.stat().st_size
        print(f"{MODEL} {version}: validation {score:.2%}, {size} bytes, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
