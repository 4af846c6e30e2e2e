"""Small Chinese language models of Qwen2's own classes: tokenizer, model, left-padded batches."""
