"""Train a tiny causal language model by Hugging Face's Trainer with bridle's loss.

Runs offline in seconds: the model is made here, its text is a pattern to be learned.

    pip install 'bridle[torch]' 'transformers[torch]'
    python examples/hugging_face_trainer.py
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from bridle.torch import causal_lm_loss

WORDS = 16


def pattern(start: int, length: int = 24) -> dict[str, Any]:
    """Return a text that counts upwards from ``start``: its next word is never in doubt."""
    tokens = (start + torch.arange(length)) % WORDS
    return {"input_ids": tokens, "labels": tokens}


def main() -> None:
    """Train, and print the loss before and after in nats per word."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)
    texts = [pattern(start) for start in range(WORDS)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=60,
            learning_rate=1e-2,
            per_device_train_batch_size=8,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=texts,
            # The one line: the gradient overwrites the logits, which nobody reads again.
            compute_loss_func=partial(causal_lm_loss, inplace=True),
        )
        before = trainer.evaluate(texts)["eval_loss"]
        trainer.train()
        after = trainer.evaluate(texts)["eval_loss"]
    print(f"loss before {before:.3f}, after {after:.3f} nats per word")


if __name__ == "__main__":
    main()
